package session

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	"github.com/fairlead-go/fairlead/session/driver"
)

// Shards spreads names over several sessions, each usually of another cluster: see
// [Shard]. Its methods are safe for concurrent use, and do no I/O.
type Shards struct {
	names    []string // of the clusters, sorted
	sessions map[string]*Session
}

// Shard spreads names over clusters. The keys are what the clusters are called, each
// with a session on it:
//
//	shards := session.Shard(map[string]*session.Session{"eu-1": a, "eu-2": b, "eu-3": c})
//	m := mutex.New(shards.For("orders/7"), "orders/7")
//
// A name's cluster depends on the name and on what the clusters are called, and on
// nothing else: it is the same in every process and in every release. A cluster that
// cannot be reached stops its own names and no others; they do not move.
//
// # What must be equal
//
// All processes that use a name must give the same keys for the same clusters. Two
// that do not may look for one name on two clusters, and then BOTH HOLD IT. Nothing can
// tell them: the clusters know nothing of each other. So keep the keys beside the URLs,
// in the one configuration that all processes read, and let a cluster that moves to
// other machines, with its data, keep its key.
//
// # When the set changes
//
// With a further cluster, one name in n moves, to that cluster; without one of them, its
// names move, each to one of the others; all other names stay. For a name that moves,
// processes with the old set and processes with the new one do not exclude each
// other. There are two ways through that:
//
//   - Stop all processes, and start them with the new set.
//   - Go through a release that holds a name on both: first on old.For(name), then, if
//     that is another session, on next.For(name). Once all processes do that, a further
//     release takes the new set alone. Of two releases in a row, both lock on one
//     cluster in common, and so nobody holds beside another.
//
// Fencing tokens of two clusters have nothing to do with each other: after a move
// they may be smaller than before. Who checks tokens needs a number that grows with
// each change of the set, and compares that number first and then the token.
//
// The sessions remain the caller's to close. Shard panics if there are none, if one is
// nil, or if what a cluster is called is not a valid name.
//
// The algorithm is that of highest random weight, or rendezvous hashing (Thaler and
// Ravishankar, Using Name-Based Mappings to Increase Hit Rates, IEEE/ACM
// Transactions on Networking, 1998).
func Shard(clusters map[string]*Session) *Shards {
	if len(clusters) == 0 {
		panic("session: Shard needs one session at least")
	}
	for cluster, s := range clusters {
		if err := driver.CheckName(cluster); err != nil {
			panic(fmt.Sprintf("session: Shard: the cluster %q: %v", cluster, err))
		}
		if s == nil {
			panic(fmt.Sprintf("session: Shard: the session of the cluster %q is nil", cluster))
		}
	}
	return &Shards{slices.Sorted(maps.Keys(clusters)), maps.Clone(clusters)}
}

// For returns the session on which the name lives. Primitives of related names live on
// one cluster if all ask for the same string here, such as what their names begin with.
func (s *Shards) For(name string) *Session { return s.sessions[s.Cluster(name)] }

// Cluster returns what the cluster is called on which the name lives.
func (s *Shards) Cluster(name string) string {
	winner, highest := "", [sha256.Size]byte{}
	for _, cluster := range s.names {
		if w := weight(cluster, name); winner == "" || bytes.Compare(w[:], highest[:]) > 0 {
			winner, highest = cluster, w
		}
	}
	return winner
}

// weight is the SHA-256 of the cluster, a zero byte and the name. IT MUST NEVER CHANGE:
// two releases that differ here let two hold one name.
func weight(cluster, name string) [sha256.Size]byte {
	b := make([]byte, 0, 256) // on the stack, and mostly enough
	b = append(b, cluster...)
	b = append(b, 0)
	return sha256.Sum256(append(b, name...))
}
