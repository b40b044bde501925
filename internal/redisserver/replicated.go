package redisserver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/fairlead-go/fairlead/internal/process"
)

// A Replicated is a primary, a replica of it, and sentinels, which make the
// replica the primary when the primary is dead or frozen. What the primary has
// confirmed and the replica has not got yet is lost then.
type Replicated struct {
	servers   []*Server // who is primary changes
	sentinels []*Server
}

// StartReplicated starts a primary, a replica and so many sentinels, of which a
// majority decides, and waits until they all know of one another. With no
// sentinels nothing ever changes by itself. With Config.Dir each has a directory
// of its own inside it.
//
// With Config.TLS sentinels tell clients the TLS address of the primary, and
// listen for TLS themselves.
func StartReplicated(c Config, sentinels int) (*Replicated, error) {
	roles := []role{{name: "server1"}, {name: "server2", lines: replicateFirst}}
	for i := range sentinels {
		roles = append(roles, role{
			name: "sentinel" + strconv.Itoa(i+1), sentinel: true,
			lines: watch(sentinels), waken: hurry,
		})
	}
	servers, err := launch(&c, roles, process.Reserve)
	if err != nil {
		return nil, err
	}
	r := &Replicated{servers: servers[:2], sentinels: servers[2:]}
	ctx, cancel := startContext()
	defer cancel()
	if err := r.acquainted(ctx); err != nil {
		err = fmt.Errorf("start redis with a replica: %w\n%s", err, r.logs())
		r.Close()
		return nil, err
	}
	return r, nil
}

func replicateFirst(_ *Server, all []*Server) map[string]string {
	return map[string]string{
		"replicaof": fmt.Sprintf("%s %d", all[0].place.host.Addr, all[0].place.peer().Number),
	}
}

// acquainted returns when everybody knows of everybody.
func (r *Replicated) acquainted(ctx context.Context) error {
	if _, err := r.Replica(ctx); err != nil {
		return err
	}
	return until(ctx, func() error {
		return each(r.sentinels, func(s *Server) error {
			return s.sees(ctx, r.servers[0], len(r.sentinels)-1)
		})
	})
}

func (r *Replicated) logs() string {
	var all string
	for _, s := range slices.Concat(r.servers, r.sentinels) {
		all += fmt.Sprintf("log of %s:\n%s", s.Addr(), s.Log())
	}
	return all
}

// Name is what the sentinels call the primary: fairlead.
func (r *Replicated) Name() string { return master }

// Servers returns the two servers that have data, dead ones too. The first
// began as the primary.
func (r *Replicated) Servers() []*Server { return slices.Clone(r.servers) }

// Sentinels returns the sentinels, dead ones too.
func (r *Replicated) Sentinels() []*Server { return slices.Clone(r.sentinels) }

// SentinelAddrs returns where clients connect to ask for the primary, host:port.
func (r *Replicated) SentinelAddrs() []string { return addrs(r.sentinels) }

// Primary returns the server that is the primary, in the servers' own opinion.
// It blocks until exactly one says that it is, or ctx is done. A primary that was
// replaced while it was dead or frozen says so for a moment after its return, and
// takes writes, which are lost.
func (r *Replicated) Primary(ctx context.Context) (*Server, error) {
	return r.await(ctx, "primary", view.primary)
}

// Replica returns the server that replicates from the other, to which it is
// connected. It blocks as Primary does.
func (r *Replicated) Replica(ctx context.Context) (*Server, error) {
	return r.await(ctx, "replica", view.connected)
}

// await returns the server of which alone is holds.
func (r *Replicated) await(ctx context.Context, what string, is func(view) bool) (*Server, error) {
	var one *Server
	err := until(ctx, func() error {
		views, err := r.look(ctx)
		one = only(views, is)
		if one == nil {
			return errors.Join(fmt.Errorf("%v", views), err)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("wait for the %s of %v: %w", what, addrs(r.servers), err)
	}
	return one, nil
}

// only returns the server of which alone is holds, or nil.
func only(views []view, is func(view) bool) *Server {
	var one *Server
	for _, v := range views {
		if !is(v) {
			continue
		}
		if one != nil {
			return nil
		}
		one = v.server
	}
	return one
}

// A view is what a server says of itself.
type view struct {
	server *Server
	role   string // master or slave, Redis's words; empty when it says nothing
	link   string // of a replica, to its primary
	offset int64  // how much has been written
}

func (v view) primary() bool   { return v.role == "master" }
func (v view) connected() bool { return v.role == "slave" && v.link == "connected" }

func (v view) String() string {
	return fmt.Sprintf("%s is %q %s at %d", v.server.Addr(), v.role, v.link, v.offset)
}

// look asks both servers. The error is of those that do not tell.
func (r *Replicated) look(ctx context.Context) ([]view, error) {
	views := make([]view, len(r.servers))
	errs := make([]error, len(r.servers))
	var wg sync.WaitGroup
	for i, s := range r.servers {
		wg.Go(func() { views[i], errs[i] = s.view(ctx) })
	}
	wg.Wait()
	return views, errors.Join(errs...)
}

func (s *Server) view(ctx context.Context) (view, error) {
	v := view{server: s}
	reply, err := ask[[]any](ctx, s, "ROLE")
	if err != nil {
		return v, err
	}
	ok := len(reply) > 1
	if ok {
		v.role, _ = reply[0].(string)
	}
	switch {
	case v.role == "master":
		v.offset, ok = reply[1].(int64)
	case v.role == "slave" && len(reply) == 5:
		v.link, _ = reply[3].(string)
		v.offset, ok = reply[4].(int64)
	default:
		ok = false
	}
	if !ok {
		return view{server: s}, fmt.Errorf("ask redis at %s for its role: it says %v", s.Addr(), reply)
	}
	return v, nil
}

// WaitReplicated returns when the replica has what the primary had at the time
// of the call. It blocks until then or until ctx is done.
func (r *Replicated) WaitReplicated(ctx context.Context) error {
	primary, err := r.Primary(ctx)
	if err != nil {
		return err
	}
	now, err := primary.view(ctx)
	if err != nil {
		return err
	}
	err = until(ctx, func() error {
		views, err := r.look(ctx)
		replica := only(views, view.connected)
		if replica != nil && replica != primary && viewOf(replica, views).offset >= now.offset {
			return nil
		}
		return errors.Join(fmt.Errorf("%v", views), err)
	})
	if err != nil {
		return fmt.Errorf("wait for the replica of %s to be at %d: %w", primary.Addr(), now.offset, err)
	}
	return nil
}

func viewOf(s *Server, views []view) view {
	i := slices.IndexFunc(views, func(v view) bool { return v.server == s })
	return views[i]
}

// Close closes all servers and sentinels.
func (r *Replicated) Close() { closeAll(slices.Concat(r.servers, r.sentinels)) }

func addrs(servers []*Server) []string {
	all := make([]string, len(servers))
	for i, s := range servers {
		all[i] = s.Addr()
	}
	return all
}
