package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

const (
	// Poll is how long to wait before a server is asked again.
	Poll = 20 * time.Millisecond

	// logShown is how much of a log is shown, from its end.
	logShown = 8 << 10
)

// A Child is a server that runs as a child process, in one life after another,
// and is dead in between. Its methods may be called concurrently. Kill, Stop and
// Cont fail with os.ErrProcessDone when it does not run.
type Child struct {
	name string // what it is, for errors
	dir  string // where it is, for errors
	log  string // the file that all lives write to

	mu   sync.Mutex
	life *life // the current, or the last; nil before the first
}

// New returns a child that has not lived yet: a server called name, say
// zookeeper, in the directory dir, which writes to the end of the file log.
func New(name, dir, log string) *Child { return &Child{name: name, dir: dir, log: log} }

// Start begins another life with the command, and waits until ready says that
// the server answers. It fails when the server runs already, when the process
// ends, and when ctx is done; the error has what the server wrote, and is
// ErrInUse if that tells of a port that is taken: then the process has ended. One
// that is there when Start fails otherwise is left as it is.
func (c *Child) Start(ctx context.Context, cmd *exec.Cmd, ready func(context.Context) bool) error {
	if err := c.start(ctx, cmd, ready); err != nil {
		return fmt.Errorf("start %s in %s: %w", c.name, c.dir, err)
	}
	return nil
}

func (c *Child) start(ctx context.Context, cmd *exec.Cmd, ready func(context.Context) bool) error {
	l, err := c.spawn(cmd)
	if err != nil {
		return err
	}
	tick := time.NewTicker(Poll)
	defer tick.Stop()
	for {
		if ready(ctx) {
			return nil
		}
		dead := !l.running() // asked before the log is read, which then has the last words
		wrote := c.logSince(l.born)
		switch {
		case strings.Contains(wrote, inUse):
			l.end() // it does so by itself, but not at once: another may be started now
			return fmt.Errorf("%w\n%s", ErrInUse, wrote)
		case dead:
			return fmt.Errorf("%v\n%s", l.cmd.ProcessState, wrote)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w\n%s", context.Cause(ctx), wrote)
		case <-l.ended:
		case <-tick.C:
		}
	}
}

func (c *Child) spawn(cmd *exec.Cmd) (*life, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.life != nil && c.life.running() {
		return nil, errors.New("it still runs")
	}
	l, err := spawn(cmd, c.log)
	if err == nil {
		c.life = l
	}
	return l, err
}

// Running reports whether the process is there, be it frozen.
func (c *Child) Running() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.life != nil && c.life.running()
}

// Pid is the id of the process, and 0 when there is none.
func (c *Child) Pid() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.life == nil || !c.life.running() {
		return 0
	}
	return c.life.cmd.Process.Pid
}

// Exit is how the last life ended, and nil when that goes on, or there was none.
func (c *Child) Exit() *os.ProcessState {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.life == nil || c.life.running() {
		return nil
	}
	return c.life.cmd.ProcessState
}

// Log returns what the server wrote last, in all its lives: some kilobytes.
func (c *Child) Log() string { return c.logSince(0) }

func (c *Child) logSince(offset int64) string {
	text, err := os.ReadFile(c.log)
	if err != nil || int64(len(text)) < offset {
		return ""
	}
	text = text[offset:]
	return string(text[max(0, len(text)-logShown):])
}

// Kill ends the process as a crash would, with SIGKILL, and waits until it is
// gone.
func (c *Child) Kill() error { return c.act("kill", (*life).kill) }

// Stop freezes the process with SIGSTOP, and returns when none of its threads
// runs any more. Systems other than Linux cannot.
func (c *Child) Stop() error { return c.act("stop", (*life).stop) }

// Cont lets a stopped process run on.
func (c *Child) Cont() error { return c.act("continue", (*life).cont) }

func (c *Child) act(what string, do func(*life) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := os.ErrProcessDone
	if c.life != nil && c.life.running() {
		err = do(c.life)
	}
	if err != nil {
		return fmt.Errorf("%s %s in %s: %w", what, c.name, c.dir, err)
	}
	return nil
}

// End ends the process, if there is one, with SIGTERM and if that is not enough
// with SIGKILL, and waits until it is gone.
func (c *Child) End() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.life != nil {
		c.life.end()
	}
}
