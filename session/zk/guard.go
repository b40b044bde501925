package zk

import (
	"fmt"
	"path"
	"strings"

	"github.com/go-zookeeper/zk"

	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
)

// Guard returns a check that passes while the grant's entry is in its queue: for a Multi
// of the caller's own, on nodes in the same ensemble. What is then written was written
// while the grant was held, however long the process had been paused, or the request
// been on its way:
//
//	responses, err := conn.Multi(
//		zk.Guard(grant),
//		&gozk.SetDataRequest{Path: "/ledger/balance", Data: []byte("17"), Version: -1},
//	)
//	if err != nil && len(responses) > 0 && responses[0].Error != nil {
//		// the grant is over: nothing was written
//	}
//
// The error is ErrNoNode or, of a writer that was downgraded, ErrBadVersion.
//
// The check is that the node exists, whatever its version, as [session.Grant.Update]
// changes that. The path is enough to tell the entry from all others, since it has the
// acquisition's own 128 random bits: also after the queue's node was made anew, and where
// the server's counter has come to its end and gives out the same number again. A grant
// of a mutex, an election or a semaphore, and a reader's, is held for as long as its
// entry is there; so after a release, a loss or an operator's deletion the check fails,
// once that has reached the ensemble. A writer's grant ends in a downgrade, too, which
// changes the node: for it the check is on the version that the node was made with.
//
// The entry has been there without a break, since it was made, when the check passes. So
// what was read under the grant, in requests before, was not changed meanwhile by anybody
// who asks for the lock; after a transaction on that connection, as a server may lag
// behind. Beside readers and permits others hold as well.
//
// The path is the whole one, with the chroot of the session, which is a matter of this
// package alone: a connection of the client library has none. That connection needs
// permission to read the node, so with acl=creator it has to be the same user's. In another
// ensemble the check never passes.
//
// A mutex with LocalHandoff does not pass such a grant on, as the next holder would have the same
// entry: its release goes to the store.
//
// Guard panics for a grant of another store, which no Multi can guard.
func Guard(g *session.Grant) *zk.CheckVersionRequest {
	g.Pin()
	return guard(g.Key(), g.Kind() == "rwmutex" && g.Mode() == driver.Exclusive)
}

// guard is Guard for an entry, which for the grant to last must be as it was made if
// pristine.
func guard(key string, pristine bool) *zk.CheckVersionRequest {
	const exists = -1
	if l, ok := parseNode(path.Base(key)); !ok || l.id == "" || !strings.HasPrefix(key, "/") {
		panic(fmt.Sprintf("zk: Guard of a grant that is of another store: its key is %q", key))
	}
	check := &zk.CheckVersionRequest{Path: key, Version: exists}
	if pristine {
		check.Version = 0
	}
	return check
}
