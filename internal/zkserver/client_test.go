package zkserver

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// A client speaks as much of the protocol as the tests need.
type client struct {
	conn     net.Conn
	id       int64
	password []byte
	xid      uint32
}

func connect(t *testing.T, addr string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return connectOver(t, conn)
}

func connectOver(t *testing.T, conn net.Conn) *client {
	t.Helper()
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(connectRequest(0, make([]byte, 16))); err != nil {
		t.Fatal(err)
	}
	b, err := readFrame(conn, 36)
	if err != nil {
		t.Fatal(err)
	}
	return &client{conn: conn, id: int64(binary.BigEndian.Uint64(b[8:])), password: b[20:36]}
}

// call sends a request and returns the error code of its answer.
func (c *client) call(op uint32, body []byte) (int32, error) {
	c.xid++
	b := binary.BigEndian.AppendUint32(nil, c.xid)
	b = binary.BigEndian.AppendUint32(b, op)
	if _, err := c.conn.Write(frame(append(b, body...))); err != nil {
		return 0, err
	}
	b, err := readFrame(c.conn, 16)
	if err != nil {
		return 0, err
	}
	return int32(binary.BigEndian.Uint32(b[12:])), nil
}

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

const (
	persistent = 0
	ephemeral  = 1
)

func (c *client) tryCreate(path string, flags uint32) error {
	const opCreate, all = 1, 31
	b := appendString(nil, path)
	b = appendString(b, "")                 // data
	b = binary.BigEndian.AppendUint32(b, 1) // one rule on who may do what
	b = binary.BigEndian.AppendUint32(b, all)
	b = appendString(b, "world")
	b = appendString(b, "anyone")
	code, err := c.call(opCreate, binary.BigEndian.AppendUint32(b, flags))
	if err == nil && code != 0 {
		err = fmt.Errorf("create %s: error %d", path, code)
	}
	return err
}

func (c *client) create(t *testing.T, path string, flags uint32) {
	t.Helper()
	if err := c.tryCreate(path, flags); err != nil {
		t.Fatal(err)
	}
}

func (c *client) exists(t *testing.T, path string) bool {
	t.Helper()
	const opExists, codeNoNode = 3, -101
	code, err := c.call(opExists, append(appendString(nil, path), 0))
	if err != nil || code != 0 && code != codeNoNode {
		t.Fatalf("exists %s: error %d, %v", path, code, err)
	}
	return code == 0
}

// ended waits until the server has cut the connection.
func (c *client) ended(t *testing.T) {
	t.Helper()
	if _, err := io.Copy(io.Discard, c.conn); err != nil {
		t.Logf("the connection ends with %v", err)
	}
}
