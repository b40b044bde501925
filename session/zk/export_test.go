package zk

import "github.com/fairlead-go/fairlead/session/driver"

// SessionOf tells what it takes to end a lease's session from outside.
func SessionOf(l driver.Lease) (id int64, passwd []byte) {
	id, passwd, _ = l.(*lease).c.session()
	return id, passwd
}
