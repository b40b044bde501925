package zk_test

import (
	"slices"
	"sync"
	"testing"

	gozk "github.com/go-zookeeper/zk"

	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/zk"
)

// Who joins has a list of the queue first, and learns later of what is in it. Where that was
// changed in between, somebody may have come behind who saw the entry wait: it has to be told
// of its turn, or it sleeps until the permit is given back.
func TestPermitWhoseViewIsLaterThanItsListMayBeFollowed(t *testing.T) {
	for what, change := range map[string]func(t *testing.T, p *party, first driver.View){
		"one ahead leaves": func(t *testing.T, p *party, first driver.View) { p.leave(first.Me) },
		"the limit is another for a while": func(t *testing.T, p *party, first driver.View) {
			for _, n := range []int64{2, 1} {
				q, err := p.store.Read(t.Context(), "q", 0)
				if err == nil {
					err = p.store.SetLimit(t.Context(), "q", q.Limit, driver.Limit{N: n})
				}
				if err != nil {
					t.Error(err)
				}
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			p := enter(t, nil)
			first, err := p.Join(t.Context(), permit(1))
			if err != nil {
				t.Fatal(err)
			}
			slow := enter(t, nil)
			made, listed, resume := false, make(chan struct{}), make(chan struct{})
			list := sync.OnceFunc(func() {
				close(listed)
				<-resume
			})
			zk.Interpose(slow.Lease, func(ops []any, send func() ([]gozk.MultiResponse, error)) ([]gozk.MultiResponse, error) {
				answers, err := send()
				made = made || slices.ContainsFunc(ops, func(op any) bool { _, ok := op.(*gozk.CreateRequest); return ok })
				if _, isList := ops[0].(string); isList && made {
					list()
				}
				return answers, err
			})
			joined := make(chan driver.View, 1)
			go func() {
				v, err := slow.Join(t.Context(), permit(1))
				if err != nil {
					t.Error(err)
				}
				joined <- v
			}()
			<-listed
			behind, err := p.Join(t.Context(), permit(1))
			if err != nil || len(behind.Ahead)+behind.Hidden != 2 {
				t.Errorf("who is behind sees %+v, %v, want two ahead", behind, err)
			}
			change(t, p, first)
			close(resume)
			if v := <-joined; !v.Followed {
				t.Errorf("the view is %+v, as if nobody could be behind", v)
			}
		})
	}
}
