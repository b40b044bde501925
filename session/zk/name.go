package zk

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/fairlead-go/fairlead/session/driver"
)

// Where things live, below the chroot. The first part is one that no queue's name
// begins with.
const (
	ours     = "/" + driver.Reserved
	sessions = ours + "/v1/session"
	limits   = ours + "/v1/limit"
)

// A queue is a node, whatever slashes its name has, as nothing but entries may be
// below it: other clients would take a node of a longer name for a contender.

// encodeName makes one part of a path of a name: what ZooKeeper does not allow
// there, and slashes and percent signs, are encoded as in a URL.
func encodeName(name string) string {
	var b strings.Builder
	for i, r := range name {
		if allowed(r) && !(i == 0 && isSpecial(name)) {
			b.WriteRune(r)
			continue
		}
		for _, c := range []byte(string(r)) {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// isSpecial tells of a name that has a meaning of its own, as a whole, for
// ZooKeeper.
func isSpecial(name string) bool { return name == "zookeeper" }

// allowed tells whether a rune stands for itself. Java takes one beyond the basic
// plane for two, which ZooKeeper does not allow.
func allowed(r rune) bool {
	switch {
	case r == '/', r == '%', r < 0x20, r >= 0x7f && r <= 0x9f, r >= 0xd800 && r <= 0xf8ff, r >= 0xfff0:
		return false
	}
	return true
}

// decodeName is the inverse of encodeName. It is false for what no name is encoded
// as: a node of another program.
func decodeName(part string) (string, bool) {
	var b []byte
	for i := 0; i < len(part); i++ {
		if part[i] != '%' {
			b = append(b, part[i])
			continue
		}
		if i+2 >= len(part) {
			return "", false
		}
		c, err := strconv.ParseUint(part[i+1:i+3], 16, 8)
		if err != nil {
			return "", false
		}
		b = append(b, byte(c))
		i += 2
	}
	name := string(b)
	return name, utf8.ValidString(name) && driver.CheckName(name) == nil && encodeName(name) == part
}

// What stands between the ID and the number in the name of an entry. Others go by
// it: locks of Curator and of go-zookeeper know those with "lock-", and Curator's
// read-write lock its two.
const (
	markLock   = "-lock-"
	markWriter = "-__WRIT__"
	markReader = "-__READ__"
	markPermit = "-permit-"
)

// protection is what the names of nodes begin with that are told by an ID, as
// Curator calls it.
const protection = "_c_"

// mark returns the mark of a claim's entry.
func mark(c driver.Claim) (string, error) {
	switch {
	case c.Mode == driver.Exclusive && c.Kind == "rwmutex":
		return markWriter, nil
	case c.Mode == driver.Exclusive:
		return markLock, nil
	case c.Mode == driver.Shared:
		return markReader, nil
	case c.Mode == driver.Permit:
		return markPermit, nil
	}
	return "", driver.Permanent(fmt.Errorf("ZooKeeper has no name for the mode %q", c.Mode))
}

// nodeName is the name with which a claim's entry is created; the server appends
// the number.
func nodeName(c driver.Claim) (string, error) {
	m, err := mark(c)
	if err == nil && !isID(c.ID) {
		err = driver.Permanent(fmt.Errorf("the claim's ID %q is not 32 hex digits", c.ID))
	}
	if err != nil {
		return "", err
	}
	return protection + guid(c.ID) + m, nil
}

func isID(s string) bool { return len(s) == 32 && strings.Trim(s, "0123456789abcdef") == "" }

// guid writes an ID as others do, who crash on any other form.
func guid(id string) string {
	return id[:8] + "-" + id[8:12] + "-" + id[12:16] + "-" + id[16:20] + "-" + id[20:]
}

// A label is what an entry's name says.
type label struct {
	seq  int32
	id   string // "" where it is not one of ours, or of a like form
	mode driver.Mode
}

// readGUID reads an ID that is written so; it is "" for anything else.
func readGUID(s string) string {
	id := make([]byte, 0, 32)
	for i, c := range []byte(s) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		switch {
		case dash && c == '-':
		case !dash && (c >= '0' && c <= '9' || c >= 'a' && c <= 'f'):
			id = append(id, c)
		default:
			return ""
		}
	}
	return string(id)
}

// parseNode reads the name of a node in a queue, whoever made it. It is false for
// one without a number at its end: that is no entry.
func parseNode(name string) (label, bool) {
	seq, rest, ok := parseSeq(name)
	if !ok {
		return label{}, false
	}
	l := label{seq: seq, mode: driver.Exclusive}
	switch {
	case strings.HasSuffix(rest, markReader):
		l.mode = driver.Shared
	case strings.HasSuffix(rest, markPermit):
		l.mode = driver.Permit
	}
	if id, ok := strings.CutPrefix(rest, protection); ok && len(id) > 36 && id[36] == '-' {
		l.id = readGUID(id[:36])
	}
	return l, true
}

// parseSeq reads the number at the end of a name, which the server writes with
// ten characters at least: ten digits, or a sign and nine or ten. A "-" before digits
// is a sign only where something else ends the mark: "lock-0000000001", but
// "lock--2147483648" and "lock--000000001".
func parseSeq(name string) (seq int32, rest string, ok bool) {
	for _, width := range []int{11, 10} {
		at := len(name) - width
		if at < 0 || width == 11 && name[at] != '-' || name[at] == '-' && (at == 0 || name[at-1] != '-' && name[at-1] != '_') {
			continue
		}
		n, err := strconv.ParseInt(name[at:], 10, 32)
		if err != nil || name[at] == '+' {
			continue
		}
		if positive, wide := name[at] != '-', n <= -1e9; positive || n < 0 && wide == (width == 11) {
			return int32(n), name[:at], true
		}
	}
	return 0, "", false
}
