package zkserver

import (
	"bufio"
	"context"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/internal/process"
)

func TestServerDiesWithItsStarter(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), orphanDir+"="+t.TempDir())
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer context.AfterFunc(ctx, func() { out.Close() })() // whoever else may have it open
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Errorf("read the server's address: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // it says that it was killed
	if t.Failed() {
		return
	}

	addr := strings.TrimSpace(line)
	tick := time.NewTicker(process.Poll)
	defer tick.Stop()
	for {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return // nobody listens
		}
		conn.Close()
		select {
		case <-ctx.Done():
			t.Fatalf("the server at %s outlives the process that started it", addr)
		case <-tick.C:
		}
	}
}
