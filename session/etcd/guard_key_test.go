package etcd

import "testing"

// Whatever another store calls its entries, no comparison is made of it that might
// hold for no entry at all.
func TestGuardOfWhatIsNoEntryOfOursPanics(t *testing.T) {
	const id = "0123456789abcdef0123456789abcdef"
	for _, e := range []struct {
		key   string
		token uint64
	}{
		{"", 7},
		{"/", 7},
		{"{fairlead}d:billing/nightly#" + id, 7}, // in Redis
		{"session/1/" + id, 7},                   // in PostgreSQL
		{"q/" + id, 7},                           // in memory
		{"/q/_c_01234567-89ab-cdef-0123-456789abcdef-lock-0000000001", 7}, // in ZooKeeper
		{"/q/694d71ddacfda227", 7},                                        // as concurrency.Mutex makes them
		{"/q/694d71ddacfda227-f2xm-0", 7},
		{"/q/694d71ddacfda227-f1xm-0", 0},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("no panic for the key %q with token %d", e.key, e.token)
				}
			}()
			guard(e.key, e.token, false)
		}()
	}
	for _, key := range []string{"q/694d71ddacfda227-f1xm-0", "/a/b/1-f1rw-12", "q/1-f1xe-" + id + "-"} {
		if c := guard(key, 7, false); string(c.KeyBytes()) != key {
			t.Errorf("the comparison for %q is %+v", key, c)
		}
	}
}
