package zk

import (
	"testing"
	"time"
)

// Who gives up in the moment in which it has its turn must not take that along.
func TestTurnOfOneThatGivesUpIsPassedOn(t *testing.T) {
	c := &conn{gone: make(chan struct{}), connected: true, changed: make(chan struct{})}
	b := newBatcher(c, nil)
	b.lanes = 1
	if b.enter("q", 0, nil, nil) != nil {
		t.Fatal("one waits, and nobody is under way")
	}
	first, second := b.enter("q", 0, nil, nil), b.enter("q", 0, nil, nil)
	<-first.done // as the next of its queue has come
	if !b.forget(first) {
		t.Error("one that gave up on its turn is taken for sent")
	}
	select {
	case <-second.done:
	case <-time.After(20 * time.Second):
		t.Fatal("its turn is lost")
	}
	if !second.alone {
		t.Error("the only one that waits is not sent alone")
	}
	b.exit()
	b.exit()
	if b.enter("r", 0, nil, nil) != nil {
		t.Errorf("one waits, and nobody is under way: %d are said to be", b.underWay)
	}
}
