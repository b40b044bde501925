package zkpeer

import (
	"context"
	_ "embed"
	"fmt"
	"os/exec"
	"time"
)

//go:embed kazoo.py
var kazooSource string

// python is Debian's, which finds Debian's python3-kazoo; another one that comes
// first in PATH would not. With -I it does not look into the current directory,
// where kazoo.py may be.
const python = "/usr/bin/python3"

// Kazoo is a Python process with one kazoo client. As a Locker it takes kazoo's
// Lock, with extra_lock_patterns so that it waits for others' nodes too.
type Kazoo struct{ *process }

// StartKazoo starts a Kazoo whose sessions have the timeout. servers is a connect
// string. The Kazoo may outlive ctx, which bounds the start alone.
func StartKazoo(ctx context.Context, servers string, session time.Duration) (*Kazoo, error) {
	p, err := start(ctx, exec.Command(python, "-I", "-c", kazooSource, servers, fmt.Sprint(session.Seconds())))
	if err != nil {
		return nil, err
	}
	return &Kazoo{p}, nil
}

// Plain takes kazoo's Lock as it is by default, which waits for kazoo's alone.
func (k *Kazoo) Plain() Locker { return kind{k.process, kindPlain} }

// Reader and Writer take kazoo's ReadLock and WriteLock.
func (k *Kazoo) Reader() Locker { return kind{k.process, kindRead} }
func (k *Kazoo) Writer() Locker { return kind{k.process, kindWrite} }
