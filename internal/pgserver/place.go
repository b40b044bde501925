package pgserver

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/fairlead-go/fairlead/internal/process"
)

// startAttempts bounds how often other ports are tried.
const startAttempts = 5

// A place is what a server shares with no other.
type place struct {
	dir   string
	temp  bool   // dir is to be removed
	owner *owner // who runs the server; nil for ourselves
	port  process.Port
}

// An owner is a user other than ourselves.
type owner struct{ uid, gid int }

// newPlace makes the directory, or takes the one that is there.
func newPlace(dir string) (*place, error) {
	o, err := servant()
	if err != nil {
		return nil, err
	}
	p := &place{dir: dir, owner: o}
	if dir == "" {
		p.dir, err = os.MkdirTemp("", "postgres-")
		p.temp = err == nil
	} else if p.dir, err = filepath.Abs(dir); err == nil {
		err = os.MkdirAll(p.dir, 0o700)
	}
	if err == nil && o != nil {
		err = letPass(p.dir)
	}
	if err != nil {
		p.leave()
		return nil, fmt.Errorf("make a directory for postgres: %w", err)
	}
	return p, nil
}

// letPass sees to it that other users can pass through the directory and those
// above it. It changes them only inside the directory for temporary files.
func letPass(dir string) error {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	temp, err := filepath.EvalSymlinks(os.TempDir())
	if err != nil {
		return err
	}
	const pass fs.FileMode = 0o011
	for own := true; ; own = false {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if info.Mode()&1 == 0 {
			if !own && !strings.HasPrefix(dir, temp+string(filepath.Separator)) {
				return fmt.Errorf("the user postgres, who runs the server for root, cannot pass through %s", dir)
			}
			if err := os.Chmod(dir, info.Mode().Perm()|pass); err != nil {
				return err
			}
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
		dir = filepath.Dir(dir)
	}
}

func (p *place) log() string  { return filepath.Join(p.dir, "log") }
func (p *place) data() string { return filepath.Join(p.dir, "data") }

// password is where the superuser's password is.
func (p *place) password() string { return filepath.Join(p.dir, "password") }

// own gives a file or directory to who runs the server.
func (p *place) own(path string) error {
	if p.owner == nil {
		return nil
	}
	return os.Chown(path, p.owner.uid, p.owner.gid)
}

// mkdir makes a directory for the server alone, or sees that it is one.
func (p *place) mkdir(path string) error {
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return p.own(path)
}

// write writes a file for the server alone.
func (p *place) write(path, text string) error {
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	return p.own(path)
}

// launch starts what configure prepares for a port, with another port if that
// one turns out to be taken.
func (p *place) launch(reserve process.Reserver, configure, start func() error) (err error) {
	for range startAttempts {
		p.port.Free() // the one of the try before
		if p.port, err = reserve(); err != nil {
			return err
		}
		if err = configure(); err != nil {
			return fmt.Errorf("configure a server in %s: %w", p.dir, err)
		}
		if err = start(); !errors.Is(err, process.ErrInUse) {
			return err
		}
	}
	return err
}

// leave gives back what the place has.
func (p *place) leave() {
	p.port.Free()
	if p.temp {
		_ = os.RemoveAll(p.dir) // nothing depends on it any more
	}
}
