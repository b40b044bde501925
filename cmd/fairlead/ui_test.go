//go:build unix

package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/textproto"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A request that is under way when the program is told to end is answered first: Serve
// has returned by then, and whoever called it must wait.
func TestDashboardAnswersBeforeItEnds(t *testing.T) {
	t.Parallel()
	p := start(t, "ui", "ui/", "--listen", "127.0.0.1:0", "--allow-release")
	host := strings.TrimSuffix(strings.TrimPrefix(p.line(), "http://"), "/")
	conn, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	const form = "name=ui%2Fx&token=1"
	_, _ = fmt.Fprintf(conn, "POST /release HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-www-form-urlencoded\r\n"+
		"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n", host, len(form))
	r := bufio.NewReader(conn)
	if line, err := textproto.NewReader(r).ReadLine(); err != nil || !strings.Contains(line, "100 Continue") {
		t.Fatalf("the form is answered %q, %v", line, err)
	}
	// It waits for the form now.
	p.signal(syscall.SIGTERM)
	for {
		other, err := net.Dial("tcp", host)
		if err != nil {
			break // nobody listens any more
		}
		_ = other.Close()
		time.Sleep(5 * time.Millisecond)
	}
	_, _ = conn.Write([]byte(form))
	_, _ = r.ReadString('\n') // the end of what has said "Continue"
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatalf("the form has no answer: %v", err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("the form, which has no code, is answered %s", resp.Status)
	}
	p.end(128 + int(syscall.SIGTERM))
}
