package zk

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/fairlead-go/fairlead/session/driver"
)

// To read anything once the turn has come doubles the time that a hand-off takes where one
// comes right after the other: a server of its own answers reads in the order of commits,
// and whoever has just released joins again. So where a queue changes hands all the time,
// an exclusive entry knows from events alone that it is its turn:
//
//   - Who leaves as the first of its queue, with others behind, leaves word: in the step
//     that deletes its entry, and before that, it makes a node of which nobody ever sees
//     anything but that it was made.
//   - So when there was word and then the nearest ahead has left, nobody is ahead. One that
//     leaves without has given up or expired, and says nothing of those ahead of it. Where it
//     was the only one ahead when the queue was listed, it was first then.
//   - The entry itself is there, or the watch on it would have fired before: events come in
//     the order in which things happen, on one connection. On the next, what happened
//     between is told in any order.
//
// It takes three watches, where one that looks at the queue once more has one. They are set
// with one request.

// A following is what an entry knows of the nearest ahead, and has watched.
type following struct {
	key     string // of the nearest ahead
	version uint64 // of that, when it was watched
	first   bool   // that is the first of the queue
	left    *watch // on it; nil where none of these is set
	word    *watch // for its word; nil where it is the first
	own     *watch // on the entry, on its children: it has none, so this fires when it leaves
	event   int    // the latest of the connection before they were set
}

// word is the path of the node that the owner of an entry leaves word with. It is no
// entry, without a number at the end.
func word(key string) string { return key + wordSuffix }

const wordSuffix = "-left"

// leaveWord returns what leaves word. Who may do what with a node that nobody ever sees does
// not matter.
func leaveWord(key string) []any {
	return []any{&zk.CreateRequest{Path: word(key), Acl: zk.WorldACL(zk.PermAll)}, &zk.DeleteRequest{Path: word(key), Version: -1}}
}

// words are the entries for whose word the server keeps a watch, by their keys.
type words struct {
	mu sync.Mutex
	of map[string]struct{}
}

func (ws *words) watched(key string) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.of == nil {
		ws.of = map[string]struct{}{}
	}
	ws.of[key] = struct{}{}
}

// forget is for a connection that is new: the library does not set these watches again, as it
// knows nothing of them.
func (ws *words) forget() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	clear(ws.of)
}

// said records that the watch on a word, if that is one, has fired.
func (ws *words) said(path string) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if key, ok := strings.CutSuffix(path, wordSuffix); ok {
		delete(ws.of, key)
	}
}

func (ws *words) are(key string) bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	_, ok := ws.of[key]
	return ok
}

// unwatchWord takes back the watch, if any, for the word of an entry that has left, in the
// background: it stays at the server until it fires. Of others who watch for it, none takes
// this for word, since it comes after the entry has left; and they need not do it as well,
// so each lets some time pass first.
func (c *conn) unwatchWord(key string) {
	if !c.words.are(key) {
		return
	}
	go func() {
		for c.life.Err() == nil {
			select {
			case <-time.After(unwatchAfter/2 + rand.N(unwatchAfter)):
			case <-c.gone:
				return
			}
			if !c.words.are(key) {
				return
			}
			if _, failed, err := c.multi(c.life, leaveWord(key)...); err == nil || failed >= 0 { // refused: it stays
				c.words.said(word(key))
				return
			}
		}
	}()
}

// tend sees to it that the watch for an entry's word is taken back when that has left, also
// when nobody waits for it any more.
func (c *conn) tend(ev zk.Event) {
	switch {
	case ev.Type == zk.EventNodeDeleted:
		c.unwatchWord(ev.Path)
	case ev.Type == zk.EventNodeDataChanged && c.words.are(ev.Path):
		go func() { _, _ = c.getAndWatch(c.life, ev.Path) }() // which tells as well if it has left
	}
}

// unwatchAfter is about how long a watch stays that nobody needs.
const unwatchAfter = 100 * time.Millisecond

// follow reads the nearest ahead, and sets the watches by which an entry knows that it is its
// turn; first says that nobody else is ahead.
func (l *lease) follow(ctx context.Context, me driver.Entry, key string, first bool) (node, error) {
	f := &following{key: key, first: first, event: l.c.event()}
	n, err := l.c.getFollowed(ctx, f, me.Key)
	if err != nil || f.left == nil {
		return n, err
	}
	f.version = uint64(n.stat.Version)
	l.mu.Lock()
	defer l.mu.Unlock()
	if c, ok := l.claims[me.ID]; ok {
		c.following = f
	}
	return n, nil
}

// getFollowed is get for what a following is of, and sets its watches, if it still is the
// connection for that. They go to the server as one request, some time before that to read: so
// they are set, and what there was to tell at once has been told, when there is an answer. That
// to their request nobody waits for; if it is a refusal, the connection ends.
func (c *conn) getFollowed(ctx context.Context, f *following, own string) (node, error) {
	left, leave, said := target{f.key, false}, target{own, true}, target{word(f.key), false}
	on, absent := []target{left, leave}, []string(nil)
	if !f.first {
		on, absent = append(on, said), []string{said.path}
	}
	ws := map[target]*watch{}
	for _, t := range on {
		ws[t], _ = c.watches.on(t)
	}
	type answer struct {
		node
		set bool
	}
	a, err := call(ctx, c, func() (a answer, err error) {
		set := c.sendAhead(f, watchesRequest([]string{left.path}, absent, []string{leave.path}))
		data, stat, err := c.Get(left.path)
		if err != nil {
			return answer{}, err
		}
		n := node{data, stat}
		if set {
			c.watches.arm(left, ws[left], n)
			for _, t := range on[1:] {
				c.watches.arm(t, ws[t], node{})
			}
		}
		return answer{n, set}, nil
	})
	if a.set {
		f.left, f.own, f.word = ws[left], ws[leave], ws[said]
	} else { // whoever shares them looks
		for t := range ws {
			c.watches.fire(t, doubt)
		}
	}
	if errors.Is(err, zk.ErrNoNode) {
		c.unwatchWord(left.path)
	}
	return a.node, err
}

// sendAhead asks for the watches of a following, unless the connection is another one now.
func (c *conn) sendAhead(f *following, request []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.connected || c.events != f.event || !c.gate.sendAhead(request) {
		return false
	}
	if !f.first {
		c.words.watched(f.key)
	}
	return true
}

// followed returns what an entry knows of its only obstacle, or nil. On another connection
// than that of the watches it knows nothing.
func (l *lease) followed(me driver.Entry, on driver.Obstacles) *following {
	l.mu.Lock()
	defer l.mu.Unlock()
	c, ok := l.claims[me.ID]
	if !ok || c.following == nil || len(on.Entries) != 1 || on.Limit {
		return nil
	}
	if f := c.following; f.key == on.Entries[0].Key && f.version == on.Entries[0].Version && f.event == l.c.event() {
		return f
	}
	return nil
}

// isTurn tells, when the watch on the only obstacle has fired, whether nobody is ahead any
// more. Where it says no, anything is possible. The connection is asked about last: what
// the watches say counts only if it was still the same one when they had been looked at.
func (l *lease) isTurn(me driver.Entry, on driver.Obstacles) bool {
	f := l.followed(me, on)
	return f != nil && f.left.left() && (f.first || f.word.made()) && !f.own.hasFired() && f.event == l.c.event()
}

// isFirst records a view from an entry which is the first of its queue, and so it stays.
func (l *lease) isFirst(v driver.View) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c, ok := l.claims[v.Me.ID]; ok {
		c.first, c.behind = true, v.Followed
	}
}

// leaving returns what removes an entry, alone or among others. Where word is refused, it
// goes without.
func (l *lease) leaving(e driver.Entry) (ops []any, alone func(context.Context) error) {
	l.mu.Lock()
	c, ok := l.claims[e.ID]
	first := ok && c.path == e.Key && c.first && c.behind
	l.mu.Unlock()
	remove := &zk.DeleteRequest{Path: e.Key, Version: -1}
	if !first {
		return []any{remove}, func(ctx context.Context) error { return l.delete(ctx, e.Key) }
	}
	ops = append(leaveWord(e.Key), remove)
	return ops, func(ctx context.Context) error {
		_, failed, err := l.c.multi(ctx, ops...)
		if failed >= 0 {
			err = l.delete(ctx, e.Key)
		}
		return err
	}
}
