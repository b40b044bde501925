package process

import (
	"bufio"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
)

func TestAChildDiesWithItsStarter(t *testing.T) {
	// Whoever lives has the other end of the pipe open: first the starter and its
	// child, then the child alone.
	held, hold, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	ctx := bounded(t)
	deadline, _ := ctx.Deadline()
	if err := held.SetReadDeadline(deadline); err != nil {
		t.Fatal(err)
	}
	cmd := player(starter)
	cmd.Dir = t.TempDir()
	cmd.ExtraFiles = []*os.File{hold}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	err = cmd.Start()
	hold.Close()
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasSuffix(line, "<nil>\n") {
		t.Errorf("the starter says %q, %v", line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // it says that it was killed
	if _, err := held.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the child outlives who started it: %v", err)
	}
}
