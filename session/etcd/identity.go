package etcd

import (
	"context"
	"fmt"
	"sync"

	"github.com/fairlead-go/fairlead/session/driver"
)

// maxIdentities bounds the leases whose owners are remembered.
const maxIdentities = 4096

// identities remembers who owns which lease, "" for those that are not known to
// be anybody's. A lease's owner never changes, and its session key is there
// before its first entry.
type identities struct {
	mu sync.Mutex
	of map[string]string
}

func newIdentities() *identities { return &identities{of: map[string]string{}} }

func (ids *identities) get(lease string) (string, bool) {
	ids.mu.Lock()
	defer ids.mu.Unlock()
	who, ok := ids.of[lease]
	return who, ok
}

func (ids *identities) put(lease, who string) {
	ids.mu.Lock()
	defer ids.mu.Unlock()
	for old := range ids.of { // any: what is still needed is asked for again
		if len(ids.of) < maxIdentities {
			break
		}
		delete(ids.of, old)
	}
	ids.of[lease] = who
}

// Identify implements driver.Store.
func (s *store) Identify(ctx context.Context, e driver.Entry) (string, error) {
	if e.Identity != "" || e.Lease == "" {
		return e.Identity, nil
	}
	if who, ok := s.identities.get(e.Lease); ok {
		return who, nil
	}
	id, err := parseLease(e.Lease)
	if err != nil {
		return "", driver.Permanent(fmt.Errorf("identify the owner of %q: %q is no lease: %w", e.Key, e.Lease, err))
	}
	resp, err := s.get(ctx, "identify the owner of "+quoted(e.Key), s.keys.session(id))
	if err != nil {
		return "", err
	}
	var r sessionRecord
	if len(resp.Kvs) > 0 {
		if r, err = decodeSession(resp.Kvs[0].Value); err != nil {
			s.warnOnce(string(resp.Kvs[0].Key), "fairlead: a session's key is garbled: its owner is shown as unknown", err)
		}
	}
	s.identities.put(e.Lease, r.Identity)
	return r.Identity, nil
}
