package zk_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strconv"
	"testing"

	gozk "github.com/go-zookeeper/zk"

	"github.com/fairlead-go/fairlead/internal/zkserver"
)

// passwordOf returns what proves to the servers that a session is one's own. They
// keep no passwords but make each of the session's number and a constant, with
// java.util.Random, so that all of them know those of all sessions.
func passwordOf(id int64) []byte {
	const (
		secret     = 0xB3415C00
		multiplier = 0x5DEECE66D
		mask       = 1<<48 - 1
	)
	seed := (uint64(id) ^ secret ^ multiplier) & mask
	password := make([]byte, 0, 16)
	for len(password) < cap(password) {
		seed = (seed*multiplier + 0xB) & mask
		n := uint32(seed >> 16)
		password = append(password, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
	}
	return password
}

// leaseOf returns the ID of the lease that the session of that identity has now.
func (s *site) leaseOf(identity string) (string, error) {
	dir := s.root + "/.fairlead/v1/session"
	leases, err := s.children(dir)
	if err != nil {
		return "", err
	}
	for _, id := range leases {
		data, _, err := s.admin.Get(path.Join(dir, id))
		if errors.Is(err, gozk.ErrNoNode) {
			continue
		}
		if err != nil {
			return "", err
		}
		var record struct{ Identity string }
		if err := json.Unmarshal(data, &record); err != nil {
			return "", err
		}
		if record.Identity == identity {
			return id, nil
		}
	}
	return "", fmt.Errorf("%s has no lease: there are %v", identity, leases)
}

// expire ends the present lease of a session at the servers.
func (s *site) expire(t *testing.T, identity string) {
	t.Helper()
	var lease string
	eventually(t, func() (err error) {
		lease, err = s.leaseOf(identity)
		return err
	})
	if err := s.end(t, lease); err != nil {
		t.Fatal(err)
	}
}

// end ends a lease at the servers.
func (s *site) end(t *testing.T, lease string) error {
	id, err := strconv.ParseUint(lease, 16, 64)
	if err != nil {
		return err
	}
	return zkserver.Expire(bounded(t), s.Servers()[0].Addr(), int64(id), passwordOf(int64(id)))
}
