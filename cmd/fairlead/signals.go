package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// A desk receives the signals of this process. While a command runs it hands
// them to the command. Otherwise one that asks to end ends the desk's context,
// and so whatever fairlead itself is waiting for.
type desk struct {
	ctx      context.Context
	cancel   context.CancelCauseFunc
	incoming chan os.Signal
	done     chan struct{} // closed when dispatching has ended

	mu      sync.Mutex
	command chan os.Signal // nil while none runs
	asked   os.Signal      // the first that asked to end
	passed  os.Signal      // one that a command need not end for, and got
}

// A signalError is the cause of the end of a desk's context.
type signalError struct{ sig os.Signal }

func (e signalError) Error() string { return fmt.Sprintf("ended by signal: %v", e.sig) }

// newDesk returns a desk that receives the signals that ask to end, and those others.
func newDesk(others ...os.Signal) *desk {
	d := &desk{incoming: make(chan os.Signal, 16), done: make(chan struct{})}
	d.ctx, d.cancel = context.WithCancelCause(context.Background())
	for _, sig := range endSignals {
		// Under nohup, or in the background of a script, some are ignored, and
		// that goes for the command as well.
		if !signal.Ignored(sig) {
			signal.Notify(d.incoming, sig)
		}
	}
	if len(others) > 0 {
		signal.Notify(d.incoming, others...)
	}
	go d.dispatch()
	return d
}

func (d *desk) close() {
	signal.Stop(d.incoming)
	close(d.incoming)
	<-d.done
	d.cancel(context.Canceled)
}

func (d *desk) dispatch() {
	defer close(d.done)
	for sig := range d.incoming {
		d.mu.Lock()
		ends := asksToEnd(sig)
		switch {
		case !ends || d.asked != nil:
		case d.command != nil && mayMeanOther(sig):
			d.passed = sig
		default:
			d.asked = sig
		}
		switch {
		case isNoise(sig):
		case d.command != nil:
			select {
			case d.command <- sig:
			default: // it has not taken the last sixteen
			}
		case ends:
			d.cancel(signalError{d.asked})
		}
		d.mu.Unlock()
	}
}

// attach directs signals to a command from now on. The function returned, to be
// called when the command has ended, directs them to fairlead again; if one that
// asks to end came meanwhile, it was meant for both. SIGHUP and SIGQUIT may have meant
// something else to the command, such as to read its files again, which a command that
// ended only as the grant was lost has shown.
func (d *desk) attach() (signals <-chan os.Signal, detach func(lost bool)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.command = make(chan os.Signal, 16)
	if len(jobSignals) > 0 {
		signal.Notify(d.incoming, jobSignals...)
	}
	return d.command, func(lost bool) {
		if len(jobSignals) > 0 {
			signal.Reset(jobSignals...)
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.command = nil
		if d.asked == nil && !lost {
			d.asked = d.passed
		}
		d.passed = nil
		if d.asked != nil {
			d.cancel(signalError{d.asked})
		}
	}
}

// interrupted returns the exit status, as a shell has it, if a signal asked to
// end.
func (d *desk) interrupted() (status int, yes bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if sig, ok := d.asked.(syscall.Signal); ok {
		return 128 + int(sig), true
	}
	return 0, false
}

func asksToEnd(sig os.Signal) bool {
	for _, s := range endSignals {
		if s == sig {
			return true
		}
	}
	return false
}
