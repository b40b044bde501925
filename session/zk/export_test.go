package zk

import "github.com/fairlead-go/fairlead/session/driver"

// SessionOf tells what it takes to end a lease's session from outside.
func SessionOf(l driver.Lease) (id int64, passwd []byte) {
	id, passwd, _ = l.(*lease).c.session()
	return id, passwd
}

// WatchesOwn tells whether an entry, being next in line, is watched itself.
func WatchesOwn(l driver.Lease, e driver.Entry) bool {
	z := l.(*lease)
	z.mu.Lock()
	defer z.mu.Unlock()
	c, ok := z.claims[e.ID]
	return ok && c.own != nil
}

// Versioned is the finding about a server of that version.
func Versioned(version string) driver.Finding { return visit{versions: []string{version}}.version() }
