package drivertest

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/watch"
)

// Bad input is refused, and what is odd but allowed works.
var inputCases = []Case{
	{"BadNamesAreRefusedBeforeAnyRequest", badNamesAreRefused},
	{"OddNamesWork", oddNamesWork},
	{"ValuesOver64KiBAreRefused", largeValuesAreRefused},
	{"NotesOver256BytesAreRefused", longNotesAreRefused},
	{"TTLAsGrantedIsUsedAndVisible", ttlAsGrantedIsUsedAndVisible},
}

func badNamesAreRefused(f *fixture) {
	p := f.open("p")
	for name, says := range map[string]string{
		"":                       "empty",
		"/":                      "empty",
		"/a":                     "empty",
		"a/":                     "empty",
		"a//b":                   "empty",
		".":                      `"."`,
		"a/./b":                  `"."`,
		"a/..":                   `".."`,
		"a\x00b":                 "control",
		"a/b\n":                  "control",
		"a\x7f":                  "control",
		"a\u0085":                "control",
		"a\xff":                  "UTF-8",
		strings.Repeat("x", 513): "513",
		driver.Reserved + "/x":   driver.Reserved,
	} {
		m, e := p.mutex(name), p.election(name)
		made := p.calls.Requests()
		for what, call := range map[string]func() error{
			"Lock":     func() error { _, err := m.Lock(f.ctx); return err },
			"TryLock":  func() error { _, err := m.TryLock(f.ctx); return err },
			"Do":       func() error { return m.Do(f.ctx, func(context.Context) error { return nil }) },
			"Campaign": func() error { _, err := e.Campaign(f.ctx, "v"); return err },
			"Leader":   func() error { _, err := e.Leader(f.ctx); return err },
			"Run":      func() error { return e.Run(f.ctx, "v", func(context.Context) error { return nil }) },
			"Observe": func() (err error) {
				for _, err = range e.Observe(f.ctx) {
					break
				}
				return err
			},
			"Queue": func() (err error) {
				for _, err = range watch.Queue(f.ctx, p.Session, name) {
					break
				}
				return err
			},
		} {
			err := call()
			if e, ok := errors.AsType[*session.Error](err); !ok || e.Op == "" || e.Name != name {
				f.Errorf("%s of the name %.20q returned %v, want a *session.Error that says so", what, name, err)
			} else if !strings.Contains(e.Err.Error(), says) {
				f.Errorf("%s of the name %.20q says %q, want it to mention %s", what, name, e.Err, says)
			}
		}
		if n := p.calls.Requests() - made; n != 0 {
			f.Errorf("the bad name %.20q led to %d requests", name, n)
		}
	}
}

func oddNamesWork(f *fixture) {
	p := f.open("p")
	long := f.prefix + "/" + strings.Repeat("x", 511-len(f.prefix))
	for _, name := range []string{
		long, f.name("ümläut/日本"), f.name("a b"), f.name("%2F"), f.name("..."), f.name("*"), f.name(`"quoted'\`), f.name("a:b{c}"),
	} {
		f.release(p.lock(name))
		f.free(name)
	}
}

func largeValuesAreRefused(f *fixture) {
	p, name := f.open("p"), f.name("q")
	fits := strings.Repeat("x", 64<<10)
	made := p.calls.Requests()
	if _, err := p.election(name).Campaign(f.ctx, fits+"x"); err == nil || errors.Is(err, context.DeadlineExceeded) {
		f.Errorf("Campaign with 64 KiB and a byte returned %v", err)
	}
	if n := p.calls.Requests() - made; n != 0 {
		f.Errorf("a value that is too large led to %d requests", n)
	}
	t, err := p.election(name).Campaign(f.ctx, fits)
	if err != nil {
		f.Fatalf("campaign with 64 KiB: %v", err)
	}
	if err := t.Proclaim(f.ctx, fits+"x"); err == nil || errors.Is(err, session.ErrLost) {
		f.Errorf("Proclaim of 64 KiB and a byte returned %v", err)
	}
	if err := t.Confirm(f.ctx); err != nil {
		f.Errorf("the term after a proclamation that was refused: %v", err)
	}
	if l, err := p.election(name).Leader(f.ctx); err != nil || l.Value != fits {
		f.Errorf("the leader's value has %d bytes, %v, want 64 KiB", len(l.Value), err)
	}
	if err := t.Resign(f.ctx); err != nil {
		f.Errorf("resign: %v", err)
	}
}

func longNotesAreRefused(f *fixture) {
	p, name := f.open("p"), f.name("q")
	m := mutex.NewWith(p.Session, name, &mutex.Options{Note: strings.Repeat("x", 257)})
	if _, err := m.Lock(f.ctx); err == nil {
		f.Errorf("a note of 257 bytes was accepted")
	}
	m = mutex.NewWith(p.Session, name, &mutex.Options{Note: strings.Repeat("x", 256)})
	if err := m.Do(f.ctx, func(context.Context) error { return nil }); err != nil {
		f.Errorf("%v", err)
	}
}

func ttlAsGrantedIsUsedAndVisible(f *fixture) {
	asked := f.b.MinTTL / 4
	p := f.openWith(&session.Options{TTL: asked, Identity: "p"})
	if ttl := p.TTL(); ttl != p.present().TTL() || ttl != asked && ttl < f.b.MinTTL {
		f.Errorf("asked for a TTL of %v, the session says %v, the lease %v, the smallest is %v",
			asked, ttl, p.present().TTL(), f.b.MinTTL)
	}
	q := f.open("q")
	if ttl := q.TTL(); ttl != longTTL {
		f.Errorf("the session says TTL %v, want %v", ttl, longTTL)
	}
	g := q.lock(f.name("q"))
	if left := time.Until(g.Deadline()); left > longTTL-500*time.Millisecond {
		f.Errorf("the trust window of %v leaves no margin before the TTL of %v", left, longTTL)
	}
	f.release(g)
}
