package zk_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/fairlead-go/fairlead/internal/zkserver"
	"github.com/fairlead-go/fairlead/session/zk"
)

// A connection of the client library's takes some megabytes.
func TestConnectionWhoseSessionHasExpiredIsForgotten(t *testing.T) {
	t.Parallel()
	p := enter(t, nil)
	p.queue("q")
	before := zk.Connections(p.store)
	for range 2 {
		id, passwd, err := zk.ReadingSession(bounded(t), p.store)
		if err == nil {
			err = zkserver.Expire(bounded(t), server.Addr(), id, passwd)
		}
		if err != nil && !strings.Contains(err.Error(), "no such session") { // the answer to an earlier attempt was lost
			t.Fatal(err)
		}
		eventually(t, func() error {
			if now, _, err := zk.ReadingSession(bounded(t), p.store); err != nil || now == id {
				return errors.Join(err, errors.New("it is not known yet that the session has expired"))
			}
			return nil
		})
	}
	if n := zk.Connections(p.store); n != before {
		t.Errorf("the store keeps %d connections, before it were %d", n, before)
	}
}
