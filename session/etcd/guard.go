package etcd

import (
	"fmt"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
)

// Guard returns a comparison that holds while the grant's entry is in its queue: for
// the If of a transaction of the caller's own, on keys in the same cluster. What is
// then written was written while the grant was held, however long the process had been
// paused, or the request been on its way:
//
//	resp, err := client.Txn(ctx).
//		If(etcd.Guard(grant)).
//		Then(clientv3.OpPut("/ledger/balance", "17")).
//		Commit()
//	if err == nil && !resp.Succeeded {
//		// the grant is over: nothing was written
//	}
//
// It compares the revision at which the entry's key was made, which is the grant's
// token: a key may be used again, by a later acquisition of the same session, and a
// revision never is. A grant of a mutex, an election or a semaphore, and a reader's, is
// held for as long as its entry is there; so after a release, a loss or an operator's
// deletion the comparison fails, once that has reached the store. A writer's grant ends
// in a downgrade, too, which changes the entry: for it the comparison fails if the entry
// has been changed.
//
// The entry has been there without a break, since it was made, when the comparison
// holds. So what was read under the grant, in requests before, was not changed meanwhile
// by anybody who asks for the lock; unless it was read with WithSerializable, from a
// member that may lag behind. Beside readers and permits others hold as well.
//
// The key is that in the cluster. A client on which clientv3/namespace puts a prefix
// before every key would look for another one, where the comparison never holds: use the
// client as clientv3.New made it. A user needs read permission on the entry's key.
// Against another cluster, where the key is not, or is not as old, it never holds either.
//
// A mutex with LocalHandoff does not pass such a grant on, as the next holder would have the same
// entry: its release goes to the store.
//
// Guard panics for a grant of another store, which no transaction of etcd's can guard.
func Guard(g *session.Grant) clientv3.Cmp {
	g.Pin()
	return guard(g.Key(), g.Token(), g.Kind() == "rwmutex" && g.Mode() == driver.Exclusive)
}

// guard is Guard for an entry, which for the grant to last must be as it was made if
// pristine.
func guard(key string, token uint64, pristine bool) clientv3.Cmp {
	// With token 0 the comparison would hold where there is no such key.
	if _, ours, err := parseKey(key[strings.LastIndexByte(key, '/')+1:]); !ours || err != nil || token == 0 {
		panic(fmt.Sprintf("etcd: Guard of a grant that is of another store: its key is %q", key))
	}
	if pristine {
		return clientv3.Compare(clientv3.ModRevision(key), "=", int64(token))
	}
	return clientv3.Compare(clientv3.CreateRevision(key), "=", int64(token))
}
