package zkpeer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	startTimeout = 30 * time.Second
	closeTimeout = 5 * time.Second // for a peer to end by itself
)

// The kinds of locks in requests.
const (
	kindMutex = "mutex"
	kindPlain = "plain" // kazoo's alone
	kindRead  = "read"
	kindWrite = "write"
)

// A process is a peer that is told what to do in lines, and answers in lines:
//
//	NUMBER acquire KIND PATH MILLISECONDS  ->  NUMBER true|false|error TEXT
//	NUMBER release KIND PATH               ->  NUMBER true|error TEXT
//
// Answers come in any order. Before the first it says "ready SESSION PASSWORD",
// both in hexadecimal. It ends when its input does.
type process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser

	session  int64
	password []byte

	ended  chan struct{} // closed when the process was waited for
	err    error         // how it ended; from here on to read after ended was closed
	stderr bytes.Buffer

	mu      sync.Mutex
	last    int
	pending map[int]chan<- string // by number; each has room for the answer
}

// start starts the process and waits until it has a session.
func start(ctx context.Context, cmd *exec.Cmd) (*process, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("not ready after %v", startTimeout))
	defer cancel()
	p := &process{cmd: cmd, ended: make(chan struct{}), pending: make(map[int]chan<- string)}
	cmd.Stderr = &p.stderr
	var err error
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ready := make(chan string, 1)
	go p.listen(stdout, ready)
	select {
	case line := <-ready:
		if err = p.introduce(line); err == nil {
			return p, nil
		}
	case <-p.ended:
		err = p.err
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	_ = p.Kill() // it may have ended
	return nil, fmt.Errorf("start %s: %w\n%s", filepath.Base(cmd.Path), err, p.stderr.String())
}

// listen hands out the answers, and at their end waits for the process. The
// first line goes to ready, which has room for it.
func (p *process) listen(stdout io.Reader, ready chan<- string) {
	defer close(p.ended)
	lines := bufio.NewScanner(stdout)
	if lines.Scan() {
		ready <- lines.Text()
	}
	for lines.Scan() {
		number, answer, _ := strings.Cut(lines.Text(), " ")
		n, err := strconv.Atoi(number)
		p.mu.Lock()
		if c, ok := p.pending[n]; ok && err == nil {
			delete(p.pending, n)
			c <- answer
		}
		p.mu.Unlock()
	}
	if p.err = p.cmd.Wait(); p.err == nil {
		p.err = errors.New("it has ended")
	}
}

func (p *process) introduce(line string) error {
	var session uint64
	var password string
	if _, err := fmt.Sscanf(line, "ready %x %s", &session, &password); err != nil {
		return fmt.Errorf("it says %q: %w", line, err)
	}
	p.session = int64(session)
	var err error
	p.password, err = hex.DecodeString(password)
	return err
}

// Session returns the id and the password of the session that the peer began
// with. After its end the peer makes itself another.
func (p *process) Session() (id int64, password []byte) { return p.session, p.password }

// Pid is for whoever wants to freeze the peer.
func (p *process) Pid() int { return p.cmd.Process.Pid }

func (p *process) Acquire(ctx context.Context, path string, timeout time.Duration) (bool, error) {
	return kind{p, kindMutex}.Acquire(ctx, path, timeout)
}

func (p *process) Release(ctx context.Context, path string) error {
	return kind{p, kindMutex}.Release(ctx, path)
}

// A kind is the locks of one kind.
type kind struct {
	process *process
	name    string
}

func (k kind) Acquire(ctx context.Context, path string, timeout time.Duration) (bool, error) {
	if timeout < time.Millisecond {
		return false, fmt.Errorf("acquire %s: a timeout of %v is too short", path, timeout)
	}
	answer, err := k.process.call(ctx, "acquire", k.name, path, strconv.FormatInt(timeout.Milliseconds(), 10))
	return answer == "true", err
}

func (k kind) Release(ctx context.Context, path string) error {
	_, err := k.process.call(ctx, "release", k.name, path)
	return err
}

func (p *process) call(ctx context.Context, words ...string) (string, error) {
	request := strings.Join(words, " ")
	answer, err := p.ask(ctx, request, len(words))
	if text, ok := strings.CutPrefix(answer, "error "); ok {
		err = errors.New(text)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %s: %w", filepath.Base(p.cmd.Path), request, err)
	}
	return answer, nil
}

func (p *process) ask(ctx context.Context, request string, words int) (string, error) {
	if len(strings.Fields(request)) != words {
		return "", errors.New("a path must not have spaces")
	}
	answer := make(chan string, 1)
	p.mu.Lock()
	p.last++
	p.pending[p.last] = answer
	_, err := fmt.Fprintf(p.stdin, "%d %s\n", p.last, request)
	p.mu.Unlock()
	if err != nil {
		<-p.ended // or it would read
		return "", p.err
	}
	select {
	case a := <-answer:
		return a, nil
	case <-p.ended:
		return "", fmt.Errorf("%w\n%s", p.err, p.stderr.String())
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

func (p *process) Kill() error {
	err := p.cmd.Process.Kill()
	<-p.ended
	return err
}

func (p *process) Close() {
	p.stdin.Close()
	select {
	case <-p.ended:
	case <-time.After(closeTimeout):
		_ = p.Kill() // it may have ended in this moment
	}
}
