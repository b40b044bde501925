package cluster

import (
	"context"
	_ "embed"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

//go:embed shim/clock.c
var shim string

const (
	clockVariable = "FAULTS_CLOCK" // names the file to the shim

	// clockError bounds by how much a clock may be wrong other than by what it was
	// stepped: asking for the time takes some.
	clockError = 500 * time.Millisecond
)

// clocks are the wall clocks of servers, which can be stepped. There are none, and it
// is nil, on systems other than Linux.
type clocks struct {
	shim  string
	files []*os.File // each with how far a clock is ahead, in nanoseconds
}

// newClocks makes n clocks that are right.
func newClocks(dir string, n int) (*clocks, error) {
	if !steps {
		return nil, nil
	}
	// Who runs the server need not be us.
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	source := filepath.Join(dir, "clock.c")
	if err := os.WriteFile(source, []byte(shim), 0o644); err != nil {
		return nil, err
	}
	c := &clocks{shim: filepath.Join(dir, "clock.so")}
	if err := command("gcc", "-shared", "-fPIC", "-O2", "-o", c.shim, source); err != nil {
		return nil, err
	}
	for i := range n {
		f, err := os.OpenFile(filepath.Join(dir, fmt.Sprint("clock", i+1)), os.O_CREATE|os.O_RDWR, 0o644)
		if err != nil {
			c.close()
			return nil, err
		}
		c.files = append(c.files, f)
		if err := c.set(i, 0); err != nil {
			c.close()
			return nil, err
		}
	}
	return c, nil
}

// through is a command line that runs the one that follows it with that clock.
func (c *clocks) through(i int) []string {
	if c == nil {
		return nil
	}
	return []string{"env", "LD_PRELOAD=" + c.shim, clockVariable + "=" + c.files[i].Name()}
}

// set has the clock be ahead of ours.
func (c *clocks) set(i int, ahead time.Duration) error {
	_, err := c.files[i].WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(ahead)), 0)
	return err
}

// step has the clock be ahead of ours, and returns when the server's answer to the
// question for the time says so.
func (c *clocks) step(ctx context.Context, i int, ahead time.Duration, ask func(context.Context) (time.Time, error)) error {
	if c == nil {
		return ErrNone
	}
	if err := c.set(i, ahead); err != nil {
		return err
	}
	return until(ctx, "the clock", func(ctx context.Context) error {
		began := time.Now()
		at, err := ask(ctx)
		if err != nil {
			return err
		}
		if got := at.Sub(began); got < ahead-clockError || got > ahead+time.Since(began)+clockError {
			return fmt.Errorf("it was set %v ahead, and is %v", ahead, got)
		}
		return nil
	})
}

func (c *clocks) close() {
	if c == nil {
		return
	}
	for _, f := range c.files {
		_ = f.Close()
	}
}

// timeless is for stores that do not look at the wall clock.
type timeless struct{}

func (timeless) SetClock(context.Context, int, time.Duration) error { return ErrNone }
func (timeless) Settled(context.Context) error                      { return ErrNone }
