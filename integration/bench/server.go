package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"

	etcdserver "github.com/fairlead-go/fairlead/integration/internal/server"
)

// serveVariable, when set, makes this program the etcd server: its value is the
// directory for the data.
const serveVariable = "FAIRLEAD_BENCH_SERVE"

// serve runs the etcd server until in ends, which it does when the parent does,
// however that ends. To each line on in it answers with the memory in use.
func serve(dir string, in io.Reader, out io.Writer) error {
	s, err := etcdserver.Start(etcdserver.Options{Dir: dir})
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := fmt.Fprintln(out, s.Addr()); err != nil {
		return fmt.Errorf("tell the address: %w", err)
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if _, err := fmt.Fprintf(out, "%.0f\n", inUse()); err != nil {
			return fmt.Errorf("tell the memory in use: %w", err)
		}
	}
	return lines.Err()
}

// A process is the etcd server as its parent sees it.
type process struct {
	at     string
	cmd    *exec.Cmd
	client *clientv3.Client // to look at it

	mu    sync.Mutex // of a question and its answer
	stdin io.WriteCloser
	out   *bufio.Reader
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
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the server: %w", err)
	}
	line, err := p.out.ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the server did not start: %w", err), p.stop())
	}
	p.at = strings.TrimSpace(line)
	if p.client, err = etcdserver.Dial(context.WithoutCancel(ctx), p.at, nil); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

func (p *process) addr() string { return p.at }

func (p *process) endpoint() string { return p.at }

func (p *process) version(context.Context) (string, error) {
	return "etcd " + moduleVersion("go.etcd.io/etcd/server/v3"), nil
}

func (p *process) stop() error {
	var errs []error
	if p.client != nil {
		errs = append(errs, p.client.Close())
	}
	errs = append(errs, p.stdin.Close())
	if err := p.cmd.Wait(); err != nil {
		errs = append(errs, fmt.Errorf("the server: %w", err))
	}
	return errors.Join(errs...)
}

// queued counts keys: the layout is that of etcd's own recipes.
func (p *process) queued(ctx context.Context, name string) (int, error) {
	r, err := p.client.Get(ctx, name+"/", clientv3.WithPrefix(), clientv3.WithCountOnly(), clientv3.WithSerializable())
	if err != nil {
		return 0, fmt.Errorf("count the queue of %s: %w", name, err)
	}
	return int(r.Count), nil
}

func (p *process) memory(context.Context) (float64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := fmt.Fprintln(p.stdin); err != nil {
		return 0, fmt.Errorf("ask the server for its memory: %w", err)
	}
	line, err := p.out.ReadString('\n')
	if err != nil {
		return 0, fmt.Errorf("ask the server for its memory: %w", err)
	}
	return strconv.ParseFloat(strings.TrimSpace(line), 64)
}
