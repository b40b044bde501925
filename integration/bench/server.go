package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	etcdserver "github.com/fairlead-go/fairlead/integration/internal/server"
)

// serveVariable, when set, makes this program the etcd server: its value is the
// directory for the data.
const serveVariable = "FAIRLEAD_BENCH_SERVE"

// serve runs the etcd server until in ends, which it does when the parent does,
// however that ends.
func serve(dir string, in io.Reader, out io.Writer) error {
	s, err := etcdserver.Start(etcdserver.Options{Dir: dir})
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := fmt.Fprintln(out, s.Addr()); err != nil {
		return fmt.Errorf("tell the address: %w", err)
	}
	_, err = io.Copy(io.Discard, in)
	return err
}

// A process is the etcd server as its parent sees it.
type process struct {
	at    string
	cmd   *exec.Cmd
	stdin io.Closer
}

// launch starts this program again as the server.
func launch(ctx context.Context, dir string) (server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	p := &process{cmd: exec.CommandContext(ctx, self)}
	p.cmd.Env = append(os.Environ(), serveVariable+"="+dir)
	p.cmd.Stderr = os.Stderr
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start the server: %w", err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start the server: %w", err)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the server: %w", err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the server did not start: %w", err), p.stop())
	}
	p.at = strings.TrimSpace(line)
	return p, nil
}

func (p *process) addr() string { return p.at }

func (p *process) stop() error {
	closed := p.stdin.Close()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("the server: %w", err)
	}
	return closed
}
