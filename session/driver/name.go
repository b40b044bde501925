package driver

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of what a caller may put into the store.
const (
	MaxName  = 512         // bytes of a name
	MaxValue = 64 << 10    // bytes of a value
	MaxNote  = 256         // bytes of a note, and of the reason of a mark
	Reserved = ".fairlead" // no name starts with this part: what is not a queue lives there
)

// CheckName returns an error that says what is wrong with a name, or nil. A name
// is a path such as "billing/nightly": valid UTF-8 of 1 to 512 bytes, no empty,
// "." or ".." part, no control characters.
func CheckName(name string) error {
	switch {
	case name == "":
		return Permanent(fmt.Errorf("the name is empty"))
	case len(name) > MaxName:
		return Permanent(fmt.Errorf("the name has %d bytes, at most %d are allowed", len(name), MaxName))
	case !utf8.ValidString(name):
		return Permanent(fmt.Errorf("the name %q is not valid UTF-8", name))
	}
	for i, r := range name {
		if unicode.IsControl(r) {
			return Permanent(fmt.Errorf("the name %q has the control character %U at byte %d", name, r, i))
		}
	}
	for i, part := range strings.Split(name, "/") {
		switch part {
		case "":
			return Permanent(fmt.Errorf("part %d of the name %q is empty", i+1, name))
		case ".", "..":
			return Permanent(fmt.Errorf("part %d of the name %q is %q", i+1, name, part))
		}
		if i == 0 && part == Reserved {
			return Permanent(fmt.Errorf("the name %q starts with %q, which Fairlead keeps for itself", name, part))
		}
	}
	return nil
}
