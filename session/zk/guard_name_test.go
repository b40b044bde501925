package zk

import "testing"

// Whatever another store calls its entries, nobody is given a check of a node that
// is something else, and exists.
func TestGuardOfWhatIsNoEntryOfOursPanics(t *testing.T) {
	const id = "0123456789abcdef0123456789abcdef"
	for _, key := range []string{
		"", "/",
		"q/" + id,                                                      // in memory
		"q/694d71ddacfda227-f1xm-0", "/q/1-f1xe-" + id + "-0000000001", // in etcd
		"/q/lock-0000000001",                        // as others make them
		"/q/_c_" + guid(someID) + "-lock-",          // without a number
		"q/_c_" + guid(someID) + "-lock-0000000001", // no path
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("no panic for the key %q", key)
				}
			}()
			guard(key, false)
		}()
	}
	for _, mark := range []string{markLock, markWriter, markReader, markPermit} {
		for _, number := range []string{"0000000000", "2147483647", "-2147483648"} {
			key := "/team/a%2Fb/_c_" + guid(someID) + mark + number
			if c := guard(key, false); c.Path != key || c.Version != -1 {
				t.Errorf("the check for %q is %+v", key, c)
			}
			if c := guard(key, true); c.Path != key || c.Version != 0 {
				t.Errorf("the check of what is to be unchanged, for %q, is %+v", key, c)
			}
		}
	}
}
