package zkserver

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/fairlead-go/fairlead/internal/process"
)

const (
	// The protocol's codes.
	opCloseSession   = -11
	codeSessionMoved = -118

	// closeXid marks the request and its answer; any positive number would do.
	closeXid = 1

	// frameLimit is far more than any answer here has.
	frameLimit = 1 << 16

	expireTimeout = 10 * time.Second // what the session is asked to become
)

var (
	// errNoSession is the server's answer to a session that it does not have, or
	// has with another password: it does not tell which.
	errNoSession = errors.New("the server has no such session, or another password for it")

	// errTaken is how it looks when the session's client takes it back.
	errTaken = errors.New("the connection lost the session before it could be closed")
)

// Expire ends a session from outside, as an operator would: it connects to the
// server at addr with the session's id and password, and closes it. When it
// returns nil, the session's ephemeral nodes are gone, and its client will be
// told that the session has expired.
//
// The session belongs to the connection that was made last. So its client may
// take it back in between; Expire tries again then, until ctx is done.
func Expire(ctx context.Context, addr string, id int64, password []byte) error {
	tick := time.NewTicker(process.Poll)
	defer tick.Stop()
	for existed := false; ; {
		accepted, err := closeSession(ctx, addr, id, password)
		if err == nil || existed && errors.Is(err, errNoSession) {
			return nil // in the second case, an earlier try has done it
		}
		existed = existed || accepted
		if !errors.Is(err, errTaken) {
			return fmt.Errorf("expire session %#x at %s: %w", uint64(id), addr, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("expire session %#x at %s: %w; at last: %w", uint64(id), addr, context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}

// closeSession is one try; accepted means that the session existed. Both
// requests go out at once, to leave the session's client little time to take it
// back; the server reads the second one only after it has accepted the first.
func closeSession(ctx context.Context, addr string, id int64, password []byte) (accepted bool, err error) {
	conn, err := process.Dial(ctx, addr)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	if _, err := conn.Write(append(connectRequest(id, password), closeRequest()...)); err != nil {
		return false, conn.Explain(fmt.Errorf("%w: %w", errTaken, err))
	}
	if err := readConnected(conn, id); err != nil {
		return false, conn.Explain(err)
	}
	return true, conn.Explain(readClosed(conn))
}

func connectRequest(id int64, password []byte) []byte {
	var b []byte
	b = binary.BigEndian.AppendUint32(b, 0) // version of the protocol
	b = binary.BigEndian.AppendUint64(b, 0) // last transaction seen: none
	b = binary.BigEndian.AppendUint32(b, uint32(expireTimeout.Milliseconds()))
	b = binary.BigEndian.AppendUint64(b, uint64(id))
	b = binary.BigEndian.AppendUint32(b, uint32(len(password)))
	b = append(b, password...)
	b = append(b, 0) // a server that can only read will not do
	return frame(b)
}

func closeRequest() []byte {
	op := int32(opCloseSession)
	b := binary.BigEndian.AppendUint32(nil, closeXid)
	return frame(binary.BigEndian.AppendUint32(b, uint32(op)))
}

func frame(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
}

// readFrame reads a frame, of which at least atLeast bytes are needed.
func readFrame(r io.Reader, atLeast uint32) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, fmt.Errorf("%w: %w", errTaken, err)
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < atLeast || n > frameLimit {
		return nil, fmt.Errorf("the server sent a frame of %d bytes", n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("%w: %w", errTaken, err)
	}
	return b, nil
}

// readConnected reads the answer to connectRequest: version, timeout, session.
func readConnected(r io.Reader, id int64) error {
	b, err := readFrame(r, 16)
	if err != nil {
		return err
	}
	timeout, session := binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint64(b[8:])
	if timeout == 0 || session != uint64(id) {
		return errNoSession
	}
	return nil
}

// readClosed reads the answer to closeRequest: xid, transaction, error.
func readClosed(r io.Reader) error {
	b, err := readFrame(r, 16)
	if err != nil {
		return err
	}
	xid, code := int32(binary.BigEndian.Uint32(b)), int32(binary.BigEndian.Uint32(b[12:]))
	switch {
	case xid != closeXid:
		return fmt.Errorf("the server answers request %d, and was sent request %d", xid, closeXid)
	case code == codeSessionMoved:
		return errTaken
	case code != 0:
		return fmt.Errorf("the server answers with error %d", code)
	default:
		return nil
	}
}
