package zk

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/fairlead-go/fairlead/session/driver"
)

const (
	someID   = "0123456789abcdef0123456789abcdef"
	someGUID = "01234567-89ab-cdef-0123-456789abcdef"
)

// Hostile are names that are allowed, and mean something to ZooKeeper, to URLs, or
// to those who make paths of them.
var Hostile = []string{
	"a", "a/b", "a%b", "a%2Fb", "a%252Fb", "%", "%%", "%2F",
	"zookeeper", "zookeeper/quota", "Zookeeper", "zookeeperx", "%7Aookeeper",
	".a", "...", "a/...", ".fairleadx", "a/.fairlead", "a b", " ", "a\\b", "a?b#c", "a:b@c",
	"ü", "日本/東京", "\u2028", "\U0001F600", "a/\U0001F600/\U0010FFFD", "\U0010FFFF",
	"\ue000", "\uf8ff", "\uf900", "\uffef", "\ufff0", "\ufffd", "\uffff",
	strings.Repeat("\U0001F600", driver.MaxName/4), strings.Repeat("%", driver.MaxName),
}

// allowedByServer is what ZooKeeper's PathUtils has against a part of a path. It
// looks at the 16 bits of Java, so what is beyond them are two surrogates.
func allowedByServer(part string) error {
	switch part {
	case "", ".", "..":
		return fmt.Errorf("the part is %q", part)
	}
	for _, r := range part {
		if r == 0 || r == '/' || r > 0 && r <= 0x1f || r >= 0x7f && r <= 0x9f || r >= 0xd800 && r <= 0xf8ff || r >= 0xfff0 {
			return fmt.Errorf("the part %q has %U", part, r)
		}
	}
	return nil
}

func TestNameBecomesOnePartOfAPathAndBack(t *testing.T) {
	for _, name := range Hostile {
		if err := driver.CheckName(name); err != nil {
			t.Fatalf("the test's name %q is none: %v", name, err)
		}
		part := encodeName(name)
		if err := allowedByServer(part); err != nil {
			t.Errorf("encodeName(%q): %v", name, err)
		}
		if part == "zookeeper" || part == driver.Reserved {
			t.Errorf("encodeName(%q) = %q, which is not a queue's", name, part)
		}
		if got, ok := decodeName(part); !ok || got != name {
			t.Errorf("decodeName(%q) = %q, %v, want %q", part, got, ok, name)
		}
	}
}

func TestNodeThatIsNoQueuesNameIsTold(t *testing.T) {
	for _, part := range []string{
		"", ".", "..", driver.Reserved, "zookeeper", "%", "%2", "a%", "a%F", "%zz", "%+1", "%2f", "a%2fb", "%41", "a%7Aookeeper",
		"a%2F", "%2Fa", "a%2F%2Fb", "a%2F..", "%00", "a%0A", "%FF", "%ED%A0%80", "\xff", "%C3%BC", "%F0%9F%98", "\U0001F600",
		strings.Repeat("a", driver.MaxName+1), driver.Reserved + "%2Fa",
	} {
		if name, ok := decodeName(part); ok {
			t.Errorf("decodeName(%q) = %q, want no name", part, name)
		}
	}
}

func TestNamesOfAllLibrariesAreRead(t *testing.T) {
	const other = "9f8e7d6c5b4a39281706f5e4d3c2b1a0"
	for name, want := range map[string]label{
		"_c_" + someGUID + "-lock-0000000001":                          {1, someID, driver.Exclusive}, // ours, and Curator's
		"_c_" + someGUID + "-__WRIT__0000000002":                       {2, someID, driver.Exclusive},
		"_c_" + someGUID + "-__READ__0000000003":                       {3, someID, driver.Shared},
		"_c_" + someGUID + "-permit-0000000004":                        {4, someID, driver.Permit},
		"_c_" + someGUID + "-lease-0000000004":                         {4, someID, driver.Exclusive}, // Curator's semaphore
		"_c_" + other + "-lock-0000000005":                             {5, "", driver.Exclusive},     // go-zookeeper
		other + "__lock__0000000006":                                   {6, "", driver.Exclusive},     // kazoo
		other + "__rlock__0000000007":                                  {7, "", driver.Exclusive},
		"lock-0000000008":                                              {8, "", driver.Exclusive}, // Curator without protection
		"__READ__0000000009":                                           {9, "", driver.Exclusive},
		"0000000010":                                                   {10, "", driver.Exclusive},
		"-0000000011":                                                  {11, "", driver.Exclusive},
		"x-y-2147483647":                                               {math.MaxInt32, "", driver.Exclusive},
		"_c_" + someGUID + "-lock--2147483648":                         {math.MinInt32, someID, driver.Exclusive},
		"_c_" + someGUID + "-__WRIT__-2147483648":                      {math.MinInt32, someID, driver.Exclusive},
		"_c_" + someGUID + "-__READ__-1000000000":                      {-1_000_000_000, someID, driver.Shared},
		"_c_" + someGUID + "-permit--2000000000":                       {-2_000_000_000, someID, driver.Permit},
		"_c_" + other + "-lock--2147483647":                            {-math.MaxInt32, "", driver.Exclusive},
		other + "__lock__-2147483648":                                  {math.MinInt32, "", driver.Exclusive},
		"_c_" + strings.ToUpper(someGUID) + "-lock-0000000001":         {1, "", driver.Exclusive},
		"_c_" + someGUID + "0000000001":                                {1, "", driver.Exclusive},
		"_c_" + someGUID + "-0000000001":                               {1, someID, driver.Exclusive},
		"_c_------------------------------------" + "-lock-0000000001": {1, "", driver.Exclusive},
		"_c_0123456789-ab-cdef-0123-456789abcdef-lock-0000000001":      {1, "", driver.Exclusive}, // dashes elsewhere
	} {
		if want.id == "" && strings.HasPrefix(name, "__READ__") {
			want.mode = driver.Exclusive // without a "-" it is not the mark
		}
		if got, ok := parseNode(name); !ok || got != want {
			t.Errorf("parseNode(%q) = %+v, %v, want %+v", name, got, ok, want)
		}
	}
}

// The server pads to ten characters, of which the sign is one.
func TestNegativeNumbersOfNineDigitsAreRead(t *testing.T) {
	for _, seq := range []int32{-1, -5, -10, -999_999_999, -1_000_000_000, math.MinInt32} {
		for _, m := range []string{markLock, markWriter, markReader, markPermit} {
			name := fmt.Sprintf("_c_%s%s%010d", someGUID, m, seq)
			if got, ok := parseNode(name); !ok || got.seq != seq || got.id != someID || strings.HasSuffix(m, "READ__") != (got.mode == driver.Shared) {
				t.Errorf("parseNode(%q) = %+v, %v, want the number %d", name, got, ok, seq)
			}
		}
		name := fmt.Sprintf("9f8e7d6c5b4a39281706f5e4d3c2b1a0__lock__%010d", seq)
		if got, ok := parseNode(name); !ok || got.seq != seq {
			t.Errorf("parseNode(%q) = %+v, %v, want the number %d", name, got, ok, seq)
		}
	}
}

func TestNameWithoutANumberIsNoEntry(t *testing.T) {
	for _, name := range []string{
		"", "-", "lock", "lock-", "lock-123", "lock-000000001", "lock-00000000x1", "0000000001x", "lock-0000000001-", "lock-+000000001",
		"lock-2147483648", "lock-9999999999", "lock--2147483649", "lock--9999999999", "lock-0000 00001", "lock-1e00000000",
		"lock-\uff11\uff12\uff13\uff14", "lock-\xff\xff", "_c_" + someGUID + "-lock-",
	} {
		if l, ok := parseNode(name); ok {
			t.Errorf("parseNode(%q) = %+v, want no entry", name, l)
		}
	}
}

func TestClaimThatHasNoNameIsRefused(t *testing.T) {
	for what, c := range map[string]driver.Claim{
		"mode":         {ID: someID, Kind: "mutex", Mode: "sideways"},
		"no mode":      {ID: someID, Kind: "mutex"},
		"short ID":     {ID: someID[1:], Mode: driver.Exclusive},
		"no ID":        {Mode: driver.Exclusive},
		"upper case":   {ID: strings.ToUpper(someID), Mode: driver.Shared},
		"slash in ID":  {ID: "/" + someID[1:], Mode: driver.Permit},
		"dashes in ID": {ID: someGUID, Mode: driver.Permit},
	} {
		if name, err := nodeName(c); !driver.IsPermanent(err) {
			t.Errorf("%s: nodeName returned %q, %v, want a permanent error", what, name, err)
		}
	}
}

func TestClaimIsFoundByItsName(t *testing.T) {
	for _, c := range []driver.Claim{
		{ID: someID, Kind: "mutex", Mode: driver.Exclusive},
		{ID: someID, Kind: "election", Mode: driver.Exclusive},
		{ID: someID, Kind: "rwmutex", Mode: driver.Exclusive},
		{ID: someID, Kind: "rwmutex", Mode: driver.Shared},
		{ID: someID, Kind: "semaphore", Mode: driver.Permit},
	} {
		name, err := nodeName(c)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := parseNode(name + "0000000042"); !ok || got != (label{42, c.ID, c.Mode}) {
			t.Errorf("parseNode of the claim %+v = %+v, %v", c, got, ok)
		}
	}
}

func FuzzName(f *testing.F) {
	for _, name := range Hostile {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if driver.CheckName(name) != nil {
			return
		}
		part := encodeName(name)
		if err := allowedByServer(part); err != nil {
			t.Errorf("encodeName(%q): %v", name, err)
		}
		if got, ok := decodeName(part); !ok || got != name {
			t.Errorf("decodeName(%q) = %q, %v, want %q", part, got, ok, name)
		}
	})
}

func FuzzDecodeName(f *testing.F) {
	for _, part := range []string{"a%2Fb", "%", "%zz", "%2f", "zookeeper", "%7Aookeeper", driver.Reserved, "%F0%9F%98%80", "%FF"} {
		f.Add(part)
	}
	f.Fuzz(func(t *testing.T, part string) {
		name, ok := decodeName(part)
		if !ok {
			return
		}
		if err := driver.CheckName(name); err != nil || encodeName(name) != part {
			t.Errorf("decodeName(%q) = %q: %v, and back %q", part, name, err, encodeName(name))
		}
	})
}

func FuzzParseNode(f *testing.F) {
	for _, name := range []string{
		"_c_" + someGUID + "-lock-0000000001", "_c_" + someGUID + "-__READ__-2147483648", someID + "__lock__0000000006",
		"_c_" + someGUID + "-permit--000000005", "lock--2147483648", "-2147483648", "0000000010", "_c_-0000000001", "\xff0000000001",
		"_c_0123456789-ab-cdef-0123-456789abcdef-0000000001",
	} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		l, ok := parseNode(name)
		if !ok {
			return
		}
		if !strings.HasSuffix(name, fmt.Sprintf("%010d", l.seq)) {
			t.Errorf("parseNode(%q) has the number %d", name, l.seq)
		}
		if l.id != "" && (!isID(l.id) || !strings.HasPrefix(name, protection+guid(l.id)+"-")) {
			t.Errorf("parseNode(%q) has the ID %q", name, l.id)
		}
	})
}
