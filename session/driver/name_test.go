package driver_test

import (
	"path"
	"strings"
	"testing"
	"unicode"

	"github.com/fairlead-go/fairlead/session/driver"
)

// A name that is accepted is a path in its only spelling, and an error is permanent and
// can be printed, whatever the name.
func FuzzCheckName(f *testing.F) {
	for _, name := range []string{
		"billing/nightly", "", "/", "a//b", "a/../b", "..", "...", "a/.", "a\x00", "a\u0085b", "a\xff", "\x1b[2J", "\u2028", "\u202e",
		driver.Reserved, driver.Reserved + "/v1", "a/" + driver.Reserved, driver.Reserved + "x", strings.Repeat("x", driver.MaxName+1),
	} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		err := driver.CheckName(name)
		if err != nil {
			if !driver.IsPermanent(err) || strings.ContainsFunc(err.Error(), unicode.IsControl) {
				t.Errorf("%q: the error %q is not permanent, or cannot be printed", name, err)
			}
			return
		}
		first, _, _ := strings.Cut(name, "/")
		if path.Clean("/"+name) != "/"+name || name == "" || len(name) > driver.MaxName || first == driver.Reserved ||
			strings.ToValidUTF8(name, "") != name || strings.ContainsFunc(name, unicode.IsControl) {
			t.Errorf("%q is accepted", name)
		}
	})
}
