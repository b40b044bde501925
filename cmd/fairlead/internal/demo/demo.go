package demo

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fairlead-go/fairlead/session/embed"
)

// Options of the demo.
type Options struct {
	Executable string   // this program
	Store      string   // URL; "": an embedded server
	Plant      string   // the bug to plant, one of Bugs; "": none
	Out        *os.File // where the story goes
}

// ErrViolated says that the checks found a violation. They have been told.
var ErrViolated = errors.New("a guarantee was violated")

// names of the replicas.
var names = []string{"ann", "ben", "cleo", "dov", "eva"}

// Run performs the demo and checks it. When the checks, or the play itself,
// fail, the journals are kept.
func Run(ctx context.Context, opts Options) error {
	if unsupported != "" {
		return fmt.Errorf("the demo cannot run here: %s", unsupported)
	}
	if opts.Plant != "" && !slices.Contains(Bugs, opts.Plant) {
		return fmt.Errorf("unknown bug %q: those that can be planted are %s", opts.Plant, strings.Join(Bugs, " and "))
	}
	dir, err := os.MkdirTemp("", "fairlead-demo-")
	if err != nil {
		return err
	}
	err = perform(ctx, dir, opts)
	if err == nil || ctx.Err() != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	return fmt.Errorf("%w (the replicas' journals are kept in %s)", err, dir)
}

// perform sets the stage, plays and judges.
func perform(ctx context.Context, dir string, opts Options) error {
	d := &director{
		cast:   &cast{dir: dir},
		scene:  &scene{},
		screen: newScreen(opts.Out),
		h:      history{events: map[string][]Event{}, deaths: map[string]int64{}},
		epoch:  monotonic(),
	}
	store, prefix := opts.Store, "demo-"+randomHex()
	if store == "" {
		data := filepath.Join(dir, "etcd")
		srv, err := embed.Start(ctx, embed.Config{
			Dir:           data,
			Logger:        slog.New(slog.DiscardHandler), // its log is not the story
			UnsafeNoFsync: true,                          // nothing of it outlives the demo
		})
		if err != nil {
			return err
		}
		defer func() {
			srv.Close()
			_ = os.RemoveAll(data)
		}()
		store, prefix = srv.Endpoint(), "demo"
		d.tell(topicStore, "an etcd server of its own, at %s", store)
	} else {
		d.tell(topicStore, "the one given; names start with %s", prefix)
	}
	r, err := openRegister()
	if err != nil {
		return err
	}
	defer r.close()
	defer d.cast.close()
	d.tell(topicRegister, "what the leader writes to; it refuses an older fencing token than it has seen")
	template := ReplicaOptions{Prefix: prefix, Store: store, Register: r.address()}
	if err := d.recruit(opts, template); err != nil {
		return err
	}
	err = d.play(ctx)
	d.screen.draw(nil)
	if err != nil {
		return err
	}
	return d.judge()
}

func (d *director) recruit(opts Options, template ReplicaOptions) error {
	var processes []string
	for i, name := range names {
		o := template
		o.Name = name
		if i == len(names)-1 {
			o.Plant = opts.Plant
		}
		if err := d.cast.recruit(opts.Executable, o); err != nil {
			return fmt.Errorf("start replica %s: %w", name, err)
		}
		pid := d.cast.member(name).proc.Pid()
		d.scene.add(name, pid)
		processes = append(processes, fmt.Sprintf("%s (%d)", name, pid))
	}
	d.tell(topicReplicas, "five processes that each stand for leader, queue for a lock, and want one of %d permits: %s", permits, strings.Join(processes, ", "))
	return nil
}

// judge checks what the replicas wrote down, and tells the verdict.
func (d *director) judge() error {
	c := checker{h: &d.h, epoch: d.epoch, frozen: d.frozen, thawed: d.thawed}
	d.screen.print("\nChecked, from what the five replicas wrote in their own journals:\n")
	violated := false
	for _, f := range c.check() {
		if len(f.violations) == 0 {
			d.screen.print(fmt.Sprintf("  %s  %s: %s", d.screen.paint(green, "ok  "), f.claim, f.evidence))
			continue
		}
		violated = true
		d.screen.print(fmt.Sprintf("  %s  %s:", d.screen.paint(red, "FAIL"), f.claim))
		for _, v := range f.violations {
			d.screen.print("          " + v)
		}
	}
	if violated {
		return ErrViolated
	}
	d.screen.print(fmt.Sprintf("\nAll of it held, in %.0f s.", d.now().Seconds()))
	return nil
}

func randomHex() string {
	b := make([]byte, 4)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
