package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// A disk is a small file system that one member has for itself. There is none, and it
// is nil, where Enter was not possible.
type disk struct {
	dir string
}

// newDisk puts a file system of that size, in memory, at dir.
func newDisk(dir string, size int64) (*disk, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if !Entered() {
		return nil, nil
	}
	if err := mount(dir, size); err != nil {
		return nil, fmt.Errorf("mount a file system at %s: %w", dir, err)
	}
	return &disk{dir}, nil
}

func (d *disk) filler() string { return filepath.Join(d.dir, "filler") }

// fill takes all the space that is left, and returns when whoever writes gets none.
func (d *disk) fill(ctx context.Context) error {
	if d == nil {
		return ErrNone
	}
	f, err := os.OpenFile(d.filler(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	full := false
	for block := make([]byte, 1<<20); !full; {
		n, err := f.Write(block)
		switch {
		case errors.Is(err, syscall.ENOSPC) && n < os.Getpagesize():
			if len(block) == os.Getpagesize() {
				full = true
			}
			block = block[:os.Getpagesize()]
		case errors.Is(err, syscall.ENOSPC):
		case err != nil:
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// free gives the space back, and returns when the store serves with all members. The
// one that had none may have died of it, or be about to, and is started again.
func (d *disk) free(ctx context.Context, c Cluster, member int, pid func() int) (died bool, err error) {
	if d == nil {
		return false, ErrNone
	}
	if err := os.Remove(d.filler()); err != nil {
		return false, err
	}
	err = until(ctx, "who had no space", func(ctx context.Context) error {
		if pid() == 0 {
			died = true
			return c.Restart(ctx, member)
		}
		ctx, cancel := context.WithTimeout(ctx, 2*askTimeout)
		defer cancel()
		return c.Recovered(ctx)
	})
	return died, err
}

// close takes the file system away, with all that is on it.
func (d *disk) close() {
	if d != nil {
		_ = unmount(d.dir) // otherwise it goes with this program
	}
}
