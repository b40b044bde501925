package zk_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	gozk "github.com/go-zookeeper/zk"

	"github.com/fairlead-go/fairlead/session/zk"
)

// makesLimit tells whether an operation makes a limit's node.
func makesLimit(op any) bool {
	create, ok := op.(*gozk.CreateRequest)
	return ok && strings.Contains(create.Path, "/limit/")
}

// What a Join has asked for may be on its way when its caller gives up.
func TestLimitOfAJoinThatWasWithdrawnIsNotMadeLater(t *testing.T) {
	t.Parallel()
	p := enter(t, nil)
	first, err := p.Join(bounded(t), permit(1)) // after which there is the folder
	if err != nil {
		t.Fatal(err)
	}
	p.leave(first.Me)
	held, resume, sent := make(chan struct{}), make(chan struct{}), make(chan struct{})
	zk.Interpose(p.Lease, func(ops []any, send func() ([]gozk.MultiResponse, error)) ([]gozk.MultiResponse, error) {
		if !slices.ContainsFunc(ops, makesLimit) {
			return send()
		}
		close(held)
		<-resume
		defer close(sent)
		return send()
	})
	c := permit(1)
	ctx, cancel := context.WithCancel(bounded(t))
	joined := make(chan error, 1)
	go func() { joined <- errOf(p.Join(ctx, c)) }()
	<-held
	cancel()
	if err := <-joined; !errors.Is(err, context.Canceled) {
		t.Errorf("Join returned %v", err)
	}
	if err := p.Withdraw(bounded(t), c); err != nil {
		t.Fatal(err)
	}
	close(resume)
	<-sent
	if _, full := byHand(t, server.Addr(), "").tree(prefix(t) + "/.fairlead/v1/limit"); len(full) > 0 {
		t.Errorf("after Withdraw there is %v", full)
	}
}
