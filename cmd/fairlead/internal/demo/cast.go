package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fairlead-go/fairlead/cmd/fairlead/internal/child"
)

// shutdown bounds how long a replica may take to give everything back.
const shutdown = 15 * time.Second

// A cast is the processes of the replicas.
type cast struct {
	dir     string
	members []*member
}

// A member is one process.
type member struct {
	name   string
	proc   *child.Process
	stdin  *os.File // the replica ends when this is closed
	reader *reader
	killed bool
	closed bool // stdin is
}

// recruit starts a replica.
func (c *cast) recruit(executable string, opts ReplicaOptions) error {
	opts.Journal = filepath.Join(c.dir, opts.Name+".journal")
	r, err := openReader(opts.Journal)
	if err != nil {
		return err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return errors.Join(err, r.close())
	}
	defer func() { _ = read.Close() }()
	stderr, err := os.Create(c.complaints(opts.Name))
	if err != nil {
		return errors.Join(err, r.close(), write.Close())
	}
	defer func() { _ = stderr.Close() }()
	p, err := child.Start(&child.Command{
		Path: executable,
		Args: append([]string{executable}, opts.args()...),
		// Not an argument: the URL may have a password.
		Env:   child.Environment(os.Environ(), "FAIRLEAD_STORE="+opts.Store),
		Stdin: read, Stdout: stderr, Stderr: stderr,
	})
	if err != nil {
		return errors.Join(err, r.close(), write.Close())
	}
	c.members = append(c.members, &member{name: opts.Name, proc: p, stdin: write, reader: r})
	return nil
}

// ReplicaCommand is the hidden command that runs a replica, which takes the
// options as flags.
const ReplicaCommand = "demo-replica"

func (o *ReplicaOptions) args() []string {
	return []string{ReplicaCommand, "--name", o.Name, "--prefix", o.Prefix,
		"--journal", o.Journal, "--register", o.Register, "--plant", o.Plant}
}

// complaints is the file with what the replica wrote to standard error.
func (c *cast) complaints(name string) string { return filepath.Join(c.dir, name+".stderr") }

func (c *cast) member(name string) *member {
	i := slices.IndexFunc(c.members, func(m *member) bool { return m.name == name })
	return c.members[i]
}

// news returns what the replicas have written down since the last call, by time.
func (c *cast) news() ([]signedEvent, error) {
	var all []signedEvent
	for _, m := range c.members {
		events, err := m.reader.next()
		if err != nil {
			return nil, err
		}
		for _, e := range events {
			all = append(all, signedEvent{m.name, e})
		}
	}
	slices.SortStableFunc(all, func(a, b signedEvent) int { return cmp.Compare(a.At, b.At) })
	return all, nil
}

// deserters returns an error when a replica has ended of its own accord.
func (c *cast) deserters() error {
	for _, m := range c.members {
		select {
		case <-m.proc.Exited():
			if !m.killed {
				return c.failure(m)
			}
		default:
		}
	}
	return nil
}

func (c *cast) failure(m *member) error {
	said, err := os.ReadFile(c.complaints(m.name))
	if err != nil {
		said = []byte(err.Error())
	}
	return fmt.Errorf("replica %s ended with status %d; it said:\n%s", m.name, m.proc.Status(), said)
}

// kill ends a replica with SIGKILL and returns when it is dead.
func (m *member) kill() {
	m.killed = true
	m.proc.Kill()
	<-m.proc.Exited()
}

// dismiss asks all replicas to end, and waits until they have.
func (c *cast) dismiss(ctx context.Context) error {
	for _, m := range c.members {
		m.hangUp()
	}
	ctx, cancel := context.WithTimeout(ctx, shutdown)
	defer cancel()
	for _, m := range c.members {
		select {
		case <-m.proc.Exited():
			if !m.killed && m.proc.Status() != 0 {
				return c.failure(m)
			}
		case <-ctx.Done():
			return fmt.Errorf("replica %s does not end: %w", m.name, ctx.Err())
		}
	}
	return nil
}

func (m *member) hangUp() {
	if !m.closed {
		m.closed = true
		_ = m.stdin.Close()
	}
}

// close leaves nothing behind, whatever happened.
func (c *cast) close() {
	for _, m := range c.members {
		m.kill()
		m.hangUp()
		_ = m.reader.close()
	}
}
