package zk

import (
	"context"
	"strings"

	"github.com/go-zookeeper/zk"

	"github.com/fairlead-go/fairlead/session/driver"
)

// SessionOf tells what it takes to end a lease's session from outside.
func SessionOf(l driver.Lease) (id int64, passwd []byte) {
	id, passwd, _ = l.(*lease).c.session()
	return id, passwd
}

// PassOn has a lease look as if it had just passed on a queue.
func PassOn(l driver.Lease, name string) {
	z := l.(*lease)
	z.mu.Lock()
	defer z.mu.Unlock()
	z.passOn(name)
}

// Follows tells whether an entry knows from events alone when its turn comes.
func Follows(l driver.Lease, e driver.Entry) bool {
	z := l.(*lease)
	z.mu.Lock()
	defer z.mu.Unlock()
	c, ok := z.claims[e.ID]
	return ok && c.following != nil
}

// IsWord tells the path of an entry's word.
func IsWord(path string) bool {
	return strings.HasSuffix(path, wordSuffix)
}

// Versioned is the finding about a server of that version.
func Versioned(version string) driver.Finding { return visit{versions: []string{version}}.version() }

// An Interposer stands between a lease and the client library: it sees what is asked for,
// which is operations or, where a node's children are listed, its path; and it sends
// that, or does not.
type Interposer func(ops []any, send func() ([]zk.MultiResponse, error)) ([]zk.MultiResponse, error)

type interposed struct {
	keeper
	f Interposer
}

// Interpose puts an Interposer in place, before the lease is used.
func Interpose(l driver.Lease, f Interposer) {
	z := l.(*lease)
	z.s.work.Wait() // what a new lease does in the background
	z.c.keeper = interposed{z.c.keeper, f}
}

// InterposeReading is Interpose for what needs no lease.
func InterposeReading(ctx context.Context, st driver.Store, f Interposer) error {
	c, err := st.(*store).reading(ctx)
	if err == nil {
		c.keeper = interposed{c.keeper, f}
	}
	return err
}

func (i interposed) Multi(ops ...any) ([]zk.MultiResponse, error) {
	return i.f(ops, func() ([]zk.MultiResponse, error) { return i.keeper.Multi(ops...) })
}

func (i interposed) Delete(path string, version int32) error {
	_, err := i.f([]any{&zk.DeleteRequest{Path: path, Version: version}}, func() ([]zk.MultiResponse, error) {
		return nil, i.keeper.Delete(path, version)
	})
	return err
}

func (i interposed) Set(path string, data []byte, version int32) (stat *zk.Stat, err error) {
	_, err = i.f([]any{&zk.SetDataRequest{Path: path, Data: data, Version: version}}, func() ([]zk.MultiResponse, error) {
		stat, err = i.keeper.Set(path, data, version)
		return nil, err
	})
	return stat, err
}

func (i interposed) Create(path string, data []byte, flags int32, acl []zk.ACL) (made string, err error) {
	_, err = i.f([]any{&zk.CreateRequest{Path: path, Data: data, Acl: acl, Flags: flags}}, func() ([]zk.MultiResponse, error) {
		made, err = i.keeper.Create(path, data, flags, acl)
		return nil, err
	})
	return made, err
}

func (i interposed) Children(path string) (names []string, stat *zk.Stat, err error) {
	_, err = i.f([]any{path}, func() ([]zk.MultiResponse, error) {
		names, stat, err = i.keeper.Children(path)
		return nil, err
	})
	return names, stat, err
}

// SetLanes has a lease's joins and leaves wait where so many are under way.
func SetLanes(l driver.Lease, n int) {
	for _, b := range batchers(l) {
		b.mu.Lock()
		b.lanes = n
		b.mu.Unlock()
	}
}

// Waiting tells how many joins and leaves of a lease wait for others.
func Waiting(l driver.Lease) (n int) {
	for _, b := range batchers(l) {
		b.mu.Lock()
		n += len(b.waiting)
		b.mu.Unlock()
	}
	return n
}

func batchers(l driver.Lease) []*batcher { return []*batcher{l.(*lease).joins, l.(*lease).leaves} }

// The bounds of a batch.
const (
	MaxBatch      = maxBatch
	MaxBatchBytes = maxBatchBytes
)

// Connected tells whether there is a connection.
func Connected(l driver.Lease) bool {
	connected, _ := l.(*lease).c.state()
	return connected
}

// ReadingSession is SessionOf for what needs no lease.
func ReadingSession(ctx context.Context, st driver.Store) (id int64, passwd []byte, err error) {
	c, err := st.(*store).reading(ctx)
	if err != nil {
		return 0, nil, err
	}
	id, passwd, _ = c.session()
	return id, passwd, nil
}

// Connections tells how many connections a store keeps.
func Connections(st driver.Store) int {
	s := st.(*store)
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Rewind does what a renewal does when it was acknowledged.
func Rewind(l driver.Lease) { l.(*lease).rewind(l.TTL()) }

// IsCounting tells whether the time since a lease's last renewal is counted, for the last time.
func IsCounting(l driver.Lease) bool { return l.(*lease).idle.Stop() }
