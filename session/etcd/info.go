package etcd

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel/trace"

	"github.com/fairlead-go/fairlead/session/driver"
)

// The Info of an entry travels in its key, as the value belongs to the claim:
// a sequence of fields, each a tag, the length of what follows as a uvarint,
// and that many bytes. Unknown fields are skipped, so that a later release can
// add one.
const (
	fieldSince = 's' // a varint: milliseconds since 1970
	fieldTrace = 't' // 16 bytes of trace ID, 8 of span ID, 1 of flags
	fieldNote  = 'n' // UTF-8
)

const traceLen = 16 + 8 + 1

// infoEncoding has "-" in its alphabet, which also separates the parts of a
// key; so the info is the last part.
var infoEncoding = base64.RawURLEncoding

func encodeInfo(info driver.Info) string {
	var b []byte
	if !info.Since.IsZero() {
		b = appendField(b, fieldSince, binary.AppendVarint(nil, info.Since.UnixMilli()))
	}
	if info.Trace.IsValid() {
		traceID, spanID := info.Trace.TraceID(), info.Trace.SpanID()
		v := append(traceID[:], spanID[:]...)
		b = appendField(b, fieldTrace, append(v, byte(info.Trace.TraceFlags())))
	}
	if info.Note != "" {
		b = appendField(b, fieldNote, []byte(info.Note))
	}
	return infoEncoding.EncodeToString(b)
}

func appendField(b []byte, tag byte, v []byte) []byte {
	b = binary.AppendUvarint(append(b, tag), uint64(len(v)))
	return append(b, v...)
}

// decodeInfo is the inverse of encodeInfo, for any input.
func decodeInfo(s string) (driver.Info, error) {
	var info driver.Info
	b, err := infoEncoding.DecodeString(s)
	if err != nil {
		return info, fmt.Errorf("the info is no base64url: %w", err)
	}
	for len(b) > 0 {
		tag := b[0]
		n, size := binary.Uvarint(b[1:])
		if size <= 0 || n > uint64(len(b)-1-size) {
			return info, fmt.Errorf("field %q of the info is cut short", tag)
		}
		v := b[1+size : 1+size+int(n)]
		b = b[1+size+int(n):]
		if err := setField(&info, tag, v); err != nil {
			return info, err
		}
	}
	return info, nil
}

func setField(info *driver.Info, tag byte, v []byte) error {
	switch tag {
	case fieldSince:
		ms, size := binary.Varint(v)
		if size != len(v) || size == 0 {
			return fmt.Errorf("the time in the info is no varint")
		}
		info.Since = time.UnixMilli(ms)
	case fieldTrace:
		if len(v) != traceLen {
			return fmt.Errorf("the trace context in the info has %d bytes, want %d", len(v), traceLen)
		}
		info.Trace = trace.NewSpanContext(trace.SpanContextConfig{
			TraceID:    trace.TraceID(v[:16]),
			SpanID:     trace.SpanID(v[16:24]),
			TraceFlags: trace.TraceFlags(v[24]),
			Remote:     true,
		})
	case fieldNote:
		if !utf8.Valid(v) {
			return fmt.Errorf("the note in the info is not valid UTF-8")
		}
		info.Note = string(v)
	}
	return nil
}
