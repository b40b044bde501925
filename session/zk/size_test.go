package zk_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/internal/zkserver"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
)

const maxBuffer = 8192

// narrow is a server that takes little at once: it hangs up on more.
func narrow(t *testing.T) *zkserver.Server {
	t.Helper()
	return start(t, zkserver.Config{JVM: []string{fmt.Sprintf("-Djute.maxbuffer=%d", maxBuffer)}})
}

func candidacy(size int) driver.Claim {
	c := claim("q")
	c.Kind, c.Value = "election", strings.Repeat("x", size)
	return c
}

func namesTheSetting(err error) bool {
	return err != nil && strings.Contains(err.Error(), "jute.maxbuffer") && !errors.Is(err, driver.ErrLeaseGone)
}

func TestValueThatTheServerDoesNotTakeHarmsNobody(t *testing.T) {
	t.Parallel()
	s := narrow(t)
	p, other := enterAt(t, "zk://"+s.Addr(), nil, nil), enterAt(t, "zk://"+s.Addr(), nil, nil)
	holder := other.join("q")
	own := p.join("q")
	for _, size := range []int{maxBuffer, 2 * maxBuffer, driver.MaxValue} {
		c := candidacy(size)
		if _, err := p.Join(bounded(t), c); !namesTheSetting(err) {
			t.Errorf("Join with a value of %d bytes returned %v, want an error that names the setting", size, err)
		}
		eventually(t, func() error { // its connection was lost
			if _, err := p.Resolve(bounded(t), c); !errors.Is(err, driver.ErrEntryGone) {
				return fmt.Errorf("Resolve returned %w, want that there is no entry", err)
			}
			return nil
		})
		if _, err := p.Update(bounded(t), own.Me, c.Value); !namesTheSetting(err) {
			t.Errorf("Update with a value of %d bytes returned %v, want an error that names the setting", size, err)
		}
		eventually(t, func() error { return p.Renew(bounded(t)) })
	}
	if q := p.queue("q"); !slices.Equal(q, []uint64{holder.Me.Token, own.Me.Token}) {
		t.Errorf("the queue is %v, want %d and %d", q, holder.Me.Token, own.Me.Token)
	}
	for _, x := range []*party{p, other} {
		if err := x.Check(bounded(t)); err != nil {
			t.Errorf("a session has suffered: %v", err)
		}
	}
	v, err := p.Join(bounded(t), candidacy(maxBuffer/2))
	if err != nil {
		t.Fatalf("a value of half the size: %v", err)
	}
	p.leave(v.Me)
}

func TestAcquisitionWithAValueThatTheServerDoesNotTakeTellsWhy(t *testing.T) {
	t.Parallel()
	s := narrow(t)
	var sessions []*session.Session
	for range 2 {
		x, err := session.Open(bounded(t), "zk://"+s.Addr()+"?ttl=4s", &session.Options{Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		sessions = append(sessions, x)
	}
	holds, tries := sessions[0], sessions[1]
	place, err := holds.Join(bounded(t), claim("q"))
	if err != nil {
		t.Fatal(err)
	}
	grant, err := place.Grant(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if _, err := tries.Join(ctx, candidacy(2*maxBuffer)); !namesTheSetting(err) {
		t.Errorf("Join returned %v, want an error that names the setting", err)
	}
	if err := grant.Confirm(bounded(t)); err != nil {
		t.Errorf("the holder: %v", err)
	}
	next, err := tries.Join(bounded(t), claim("q"))
	if err != nil {
		t.Fatalf("the session that had tried: %v", err)
	}
	if v := next.View(); len(v.Ahead) != 1 || v.Ahead[0].Token != grant.Token() {
		t.Errorf("%+v is ahead, want the holder alone", v.Ahead)
	}
	for _, x := range sessions {
		if err := x.Close(bounded(t)); err != nil {
			t.Error(err)
		}
	}
}
