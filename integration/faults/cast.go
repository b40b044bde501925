package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/fairlead-go/fairlead/integration/faults/check"
	"github.com/fairlead-go/fairlead/integration/faults/client"
	"github.com/fairlead-go/fairlead/integration/faults/journal"
	"github.com/fairlead-go/fairlead/integration/proxy"
	"github.com/fairlead-go/fairlead/internal/process"
)

// A cast is the client processes. Its methods may be called concurrently for
// different clients.
type cast struct {
	*keeper
	config client.Config // what they have in common
	url    func() string // of the store, with the password of the moment
	dir    string
	actors []*actor
}

// An actor is a client, in one life after another.
type actor struct {
	number  int
	network []*proxy.Proxy
	routes  map[string]string

	mu     sync.Mutex
	life   int
	child  *process.Child
	stdin  io.Closer
	pipe   io.Writer // the same
	killed bool      // in this life
	calm   bool
}

// recruit adds a client, with a way of its own to each address of the store, and
// starts it.
func (c *cast) recruit(addrs []string) error {
	a := &actor{number: len(c.actors), routes: map[string]string{}}
	c.actors = append(c.actors, a)
	for _, addr := range addrs {
		p, err := proxy.Listen(addr)
		if err != nil {
			return err
		}
		a.network = append(a.network, p)
		a.routes[addr] = p.Addr()
	}
	return c.Revive(a.number)
}

func (c *cast) Clients() int                      { return len(c.actors) }
func (c *cast) Network(number int) []*proxy.Proxy { return c.actors[number].network }

func (c *cast) Life(number int) string {
	a := c.actors[number]
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.name(a.life)
}

// name is that of a life of the client.
func (a *actor) name(life int) string { return fmt.Sprintf("c%d.%d", a.number+1, life) }

// Revive begins another life of a client.
func (c *cast) Revive(number int) error {
	a := c.actors[number]
	a.mu.Lock()
	defer a.mu.Unlock()
	a.life++
	a.killed = false
	config := c.config
	config.URL = c.url()
	config.Life, config.Routes = a.name(a.life), a.routes
	config.Journal = c.journal(config.Life)
	config.Seed += uint64(a.number)<<32 + uint64(a.life)
	log := filepath.Join(c.dir, config.Life+".log")
	for _, path := range []string{config.Journal, log} { // of an earlier run
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	text, err := json.Marshal(config)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = read.Close() }()
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), clientVariable+"="+string(text))
	cmd.Stdin = read
	a.child = process.New("client", c.dir, log)
	a.stdin, a.pipe = write, write
	if a.calm {
		_, _ = fmt.Fprintln(write, client.CalmDown) // there is room for it
	}
	return a.child.Start(context.Background(), cmd, func(context.Context) bool { return true })
}

func (c *cast) journal(life string) string { return filepath.Join(c.dir, life+".journal") }

func (c *cast) Kill(number int) error {
	a := c.actors[number]
	a.mu.Lock()
	defer a.mu.Unlock()
	a.killed = true
	return errors.Join(a.child.Kill(), a.stdin.Close())
}

func (c *cast) Freeze(number int) error { return c.actors[number].child.Stop() }
func (c *cast) Thaw(number int) error   { return c.actors[number].child.Cont() }

// deserters returns an error when a client has ended by itself.
func (c *cast) deserters() error {
	for _, a := range c.actors {
		a.mu.Lock()
		gone, name, said := !a.killed && !a.child.Running(), a.name(a.life), a.child.Log
		a.mu.Unlock()
		if gone {
			return fmt.Errorf("%s has ended by itself; it said:\n%s", name, said())
		}
	}
	return nil
}

// calmDown tells the clients that trouble is over.
func (c *cast) calmDown() error {
	var errs []error
	for _, a := range c.actors {
		a.mu.Lock()
		a.calm = true
		_, err := fmt.Fprintln(a.pipe, client.CalmDown)
		errs = append(errs, err)
		a.mu.Unlock()
	}
	return errors.Join(errs...)
}

// dismiss asks the clients to end, and waits until they have. It returns what is
// wrong with those who do not, or who end with an error.
func (c *cast) dismiss(patience time.Duration) (trouble []string) {
	for _, a := range c.actors {
		_ = a.stdin.Close()
	}
	deadline := time.Now().Add(patience)
	for _, a := range c.actors {
		for a.child.Running() && time.Now().Before(deadline) {
			time.Sleep(process.Poll)
		}
		switch exit := a.child.Exit(); {
		case exit == nil:
			trouble = append(trouble, fmt.Sprintf("%s does not end within %v; it said:\n%s", a.name(a.life), patience, a.child.Log()))
		case !a.killed && !exit.Success():
			trouble = append(trouble, fmt.Sprintf("%s has ended with %v; it said:\n%s", a.name(a.life), exit, a.child.Log()))
		}
	}
	return trouble
}

// lives reads the journals.
func (c *cast) lives() ([]check.Life, error) {
	var all []check.Life
	for _, a := range c.actors {
		for life := 1; life <= a.life; life++ {
			events, err := journal.Read(c.journal(a.name(life)))
			if errors.Is(err, os.ErrNotExist) {
				continue // killed before it could begin
			}
			if err != nil {
				return nil, err
			}
			all = append(all, check.Life{Name: a.name(life), Client: a.number, Events: events})
		}
	}
	events, err := journal.Read(c.journal(keeperName))
	return append(all, check.Life{Name: keeperName, Client: -1, Events: events}), err
}

// close leaves nothing running, whatever happened.
func (c *cast) close() {
	var all sync.WaitGroup
	for _, a := range c.actors {
		all.Go(func() {
			if a.child != nil {
				_ = a.stdin.Close()
				a.child.End()
			}
			for _, p := range a.network {
				_ = p.Close() // nobody uses it any more
			}
		})
	}
	all.Wait()
}
