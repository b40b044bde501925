package nemesis

import (
	"context"
	"errors"
	"fmt"

	"github.com/fairlead-go/fairlead/integration/faults/journal"
)

// changePassword changes the clients' password, and starts all of them again, one after
// the other: a session keeps the one that it was opened with. What they ask for before
// is refused.
func (n *Nemesis) changePassword(ctx context.Context, f Fault) error {
	patience, cancel := bounded(ctx)
	defer cancel()
	s := n.begin(f, "change the password of the clients, and start them again one by one")
	s.Refused = true
	err := n.Cluster.ChangePassword(patience)
	n.done(s)
	for i := range n.Cast.Clients() {
		if err == nil {
			err = n.renew(patience, f, i)
		}
	}
	n.undone(s)
	return err
}

// renew starts a client again, once no other lane is busy with it.
func (n *Nemesis) renew(ctx context.Context, f Fault, client int) error {
	for !n.take(client) {
		if !sleep(ctx, reserveAgain) {
			return errors.New("a client was not free to be started again")
		}
	}
	defer n.release(client)
	s := &journal.Strike{Kind: string(f.Kind), Member: -1, Client: client, Life: n.Cast.Life(client), Death: true, From: journal.Now()}
	s.Text = fmt.Sprintf("kill %s, which has the old password", s.Life)
	err := n.Cast.Kill(client)
	n.done(s)
	return errors.Join(err, n.Cast.Revive(client))
}
