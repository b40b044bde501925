package etcd

import (
	"context"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// keepalives are the streams on which leases are renewed. A renewal has one to
// itself until it is answered: so it takes an idle one, or opens another. Where
// answers are slow there are as many as there are renewals under way, and where
// a member does not answer at all the next stream goes to another member.
//
// The client's KeepAlive would not do: it tells when answers came, but not when
// the requests for them were sent, and only the latter bounds what the server
// can have begun to count. Its KeepAliveOnce opens a stream for each request,
// and where users have passwords the client logs in for each stream: that costs
// a second round trip, and the server the work of checking a password.
type keepalives struct {
	client *clientv3.Client

	mu   sync.Mutex
	idle []*keepalive
}

type keepalive struct {
	stream pb.Lease_LeaseKeepAliveClient
	cancel context.CancelFunc
}

// renew renews a lease. life bounds the streams, ctx this request.
func (ks *keepalives) renew(life, ctx context.Context, id clientv3.LeaseID) error {
	k, err := ks.take(life, ctx)
	if err != nil {
		return err
	}
	unbind := context.AfterFunc(ctx, k.cancel)
	resp, err := k.ask(id)
	if !unbind() || err != nil { // the stream is of no more use
		k.cancel()
	} else {
		ks.mu.Lock()
		ks.idle = append(ks.idle, k)
		ks.mu.Unlock()
	}
	switch {
	case err != nil:
		return err
	case resp.TTL <= 0:
		return rpctypes.ErrLeaseNotFound
	}
	return nil
}

// take returns an idle stream or a new one.
func (ks *keepalives) take(life, ctx context.Context) (*keepalive, error) {
	ks.mu.Lock()
	if n := len(ks.idle); n > 0 {
		k := ks.idle[n-1]
		ks.idle = ks.idle[:n-1]
		ks.mu.Unlock()
		return k, nil
	}
	ks.mu.Unlock()
	sctx, cancel := context.WithCancel(clientv3.WithRequireLeader(life))
	unbind := context.AfterFunc(ctx, cancel)
	stream, err := clientv3.RetryLeaseClient(ks.client).LeaseKeepAlive(sctx) // may log in first
	if !unbind() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return &keepalive{stream, cancel}, nil
}

// ask sends one request and waits for its answer.
func (k *keepalive) ask(id clientv3.LeaseID) (*pb.LeaseKeepAliveResponse, error) {
	if err := k.stream.Send(&pb.LeaseKeepAliveRequest{ID: int64(id)}); err != nil {
		if _, recvErr := k.stream.Recv(); recvErr != nil {
			err = recvErr // what ended the stream; Send says io.EOF
		}
		return nil, err
	}
	return k.stream.Recv()
}
