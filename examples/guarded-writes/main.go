// Command guarded-writes has a holder paused, between its last look at its context
// and its write, until somebody else holds the lock and has written. Then it goes on,
// and is refused.
//
//	go run ./examples/guarded-writes
//
// What it writes to is once a key in the etcd of the locks, where the transaction has the
// guard of package etcd; and once something elsewhere, which keeps a register of package
// fence. It starts an etcd for itself, and needs nothing else.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/fairlead-go/fairlead/fence"
	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/embed"
	"github.com/fairlead-go/fairlead/session/etcd"
)

const name = "account" // of the lock

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer) error {
	client, stop, err := startEtcd(ctx)
	if err != nil {
		return err
	}
	defer stop()
	opts := &session.Options{Logger: slog.New(slog.DiscardHandler)} // a's lease will be lost
	a, err := etcd.NewSession(ctx, client, "locks", opts)
	if err != nil {
		return err
	}
	defer a.Close(ctx)
	b, err := etcd.NewSession(ctx, client, "locks", opts)
	if err != nil {
		return err
	}
	defer b.Close(ctx)
	var far elsewhere

	paused, err := mutex.New(a, name).Lock(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(writeToEtcd(ctx, client, paused, "10"), far.write(ctx, paused.Token(), "10")); err != nil {
		return err
	}
	fmt.Fprintln(out, "a holds the lock, and has written 10")

	fmt.Fprintln(out, "a is paused")
	if err := expire(ctx, client, paused); err != nil {
		return err
	}
	next, err := mutex.New(b, name).Lock(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(writeToEtcd(ctx, client, next, "20"), far.write(ctx, next.Token(), "20")); err != nil {
		return err
	}
	fmt.Fprintln(out, "b holds the lock, and has written 20")

	// It has not looked at paused.Context(), which is done by now.
	fmt.Fprintln(out, "a goes on to write 11 to etcd:", writeToEtcd(ctx, client, paused, "11"))
	fmt.Fprintln(out, "a goes on to write 11 elsewhere:", far.write(ctx, paused.Token(), "11"))
	stored, err := client.Get(ctx, "balance")
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "the balance is %s in etcd, and %s elsewhere\n", stored.Kvs[0].Value, far.balance)
	return next.Release(ctx)
}

var errOver = errors.New("the grant is over, nothing was written")

// writeToEtcd writes in one transaction with a look at whether the grant's entry is
// still in the queue.
func writeToEtcd(ctx context.Context, client *clientv3.Client, grant *session.Grant, balance string) error {
	resp, err := client.Txn(ctx).
		If(etcd.Guard(grant)).
		Then(clientv3.OpPut("balance", balance)).
		Commit()
	if err == nil && !resp.Succeeded {
		err = errOver
	}
	return err
}

// Elsewhere is where nobody can see the queue. The token comes along with each write.
type elsewhere struct {
	mu      sync.Mutex
	fence   fence.Memory
	balance string
}

func (e *elsewhere) write(ctx context.Context, token uint64, balance string) error {
	e.mu.Lock() // admission and write are one step
	defer e.mu.Unlock()
	if err := e.fence.Admit(ctx, "balance", token); err != nil {
		return err
	}
	e.balance = balance
	return nil
}

// expire ends the lease of a grant, as etcd does when it has not heard of the holder for
// a TTL.
func expire(ctx context.Context, client *clientv3.Client, grant *session.Grant) error {
	entry, err := client.Get(ctx, grant.Key())
	if err != nil {
		return err
	}
	_, err = client.Revoke(ctx, clientv3.LeaseID(entry.Kvs[0].Lease))
	return err
}

// startEtcd starts an etcd in this process, with a client.
func startEtcd(ctx context.Context) (client *clientv3.Client, stop func(), err error) {
	dir, err := os.MkdirTemp("", "fairlead-guarded-writes-")
	if err != nil {
		return nil, nil, err
	}
	quiet := slog.New(slog.DiscardHandler)
	srv, err := embed.Start(ctx, embed.Config{Dir: dir, Logger: quiet})
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	client, err = clientv3.New(clientv3.Config{Endpoints: []string{srv.Addr()}, Logger: zap.NewNop()})
	if err != nil {
		srv.Close()
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	return client, func() {
		_ = client.Close()
		srv.Close()
		_ = os.RemoveAll(dir)
	}, nil
}
