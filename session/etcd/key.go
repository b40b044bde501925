package etcd

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/fairlead-go/fairlead/session/driver"
)

// layout is the version of the key layout that this package writes, and the
// newest that it reads.
const layout = 1

// sessions is where session keys live, relative to the prefix. It is outside
// every queue, as no name may start with driver.Reserved.
const sessions = driver.Reserved + "/v1/session/"

// What an entry asks for, and for whom, is one letter each in its key. A letter
// of a later release is shown as it is, and such an entry waited for like any
// other.
var (
	modeLetters = map[driver.Mode]byte{driver.Exclusive: 'x', driver.Shared: 'r', driver.Permit: 's'}
	kindLetters = map[string]byte{"mutex": 'm', "election": 'e', "rwmutex": 'w', "semaphore": 's'}

	modes = inverse(modeLetters)
	kinds = inverse(kindLetters)
)

func inverse[T ~string](letters map[T]byte) map[byte]T {
	inv := make(map[byte]T, len(letters))
	for v, letter := range letters {
		inv[letter] = v
	}
	return inv
}

// A keyspace is the part of the store's keys below one prefix, which is empty
// or ends in a slash.
type keyspace string

func newKeyspace(prefix string) keyspace {
	if prefix != "" && !strings.HasSuffix(prefix, "/") {
		prefix += "/"
	}
	return keyspace(prefix)
}

// dir is what the keys of a queue's entries start with.
func (ks keyspace) dir(name string) string { return string(ks) + name + "/" }

// session is the key that says that a session lives, and whose it is.
func (ks keyspace) session(lease clientv3.LeaseID) string {
	return string(ks) + sessions + leaseHex(lease)
}

// entry is the key of a claim's entry, and the value with which it is made.
//
// An election's value is the proposal and nothing else, for others to read, so
// the claim's ID and info are in the key. Other kinds have them in the value, and
// their keys are used again: see slots.
func (ks keyspace) entry(lease clientv3.LeaseID, c driver.Claim, slot int) (key, value string) {
	b := make([]byte, 0, len(ks)+len(c.Name)+32)
	b = append(append(append(b, ks...), c.Name...), '/')
	b = append(strconv.AppendInt(b, int64(lease), 16), "-f"...)
	b = append(strconv.AppendInt(b, layout, 10), modeLetters[c.Mode], kindLetters[c.Kind], '-')
	if inKey(c.Kind) {
		return string(b) + c.ID + "-" + encodeInfo(c.Info), c.Value
	}
	return string(strconv.AppendInt(b, int64(slot), 10)), encodeValue(c.ID, c.Info, c.Value)
}

// inKey tells whether entries of a kind have ID and info in their key.
func inKey(kind string) bool { return kind == "election" }

// encodeValue is the value of an entry that has ID and info there.
func encodeValue(id string, info driver.Info, value string) string {
	return id + "-" + encodeInfo(info) + "\n" + value
}

// checkClaim tells what keeps a claim from being made here.
func checkClaim(c driver.Claim) error {
	switch {
	case modeLetters[c.Mode] == 0:
		return driver.Permanent(fmt.Errorf("layout %d of etcd has no mode %q", layout, c.Mode))
	case kindLetters[c.Kind] == 0:
		return driver.Permanent(fmt.Errorf("layout %d of etcd has no kind %q", layout, c.Kind))
	case !isID(c.ID):
		return driver.Permanent(fmt.Errorf("the claim's ID %q is not 32 hex digits", c.ID))
	}
	return nil
}

// split takes the key of an entry apart: the queue's name and the rest. It is
// false for a key that is no entry of any queue.
func (ks keyspace) split(key string) (name, base string, ok bool) {
	rest, ok := strings.CutPrefix(key, string(ks))
	i := strings.LastIndexByte(rest, '/')
	if !ok || i < 0 || driver.CheckName(rest[:i]) != nil {
		return "", "", false
	}
	return rest[:i], rest[i+1:], true
}

// A label is what an entry says of itself, in its key and perhaps its value.
type label struct {
	mode driver.Mode
	kind string
	slot int // where the key has one, else -1

	id    string
	info  driver.Info
	value string // what remains of the value
}

// parseKey reads the last part of a key, whoever wrote it. ours tells whether it
// claims to be of our making; then err says what is wrong with it, which is
// a driver.LayoutError if a newer release wrote it.
func parseKey(base string) (l label, ours bool, err error) {
	lease, rest, ok := strings.Cut(base, "-")
	if !ok || !isHex(lease) {
		return l, false, nil
	}
	form, rest, _ := strings.Cut(rest, "-")
	digits, ok := strings.CutPrefix(form, "f")
	letters := strings.TrimLeft(digits, "0123456789")
	version, err := strconv.ParseUint(strings.TrimSuffix(digits, letters), 10, 16)
	if !ok || err != nil {
		return l, false, nil
	}
	switch {
	case version > layout:
		return l, true, driver.LayoutError(base, int(version), layout)
	case version < 1:
		return l, true, fmt.Errorf("there is no layout %d", version)
	case len(letters) != 2 || form != "f"+strconv.FormatUint(version, 10)+letters:
		return l, true, fmt.Errorf("%q does not end in one letter for the mode and one for the kind", form)
	}
	l = label{mode: named(modes, letters[0]), kind: named(kinds, letters[1]), slot: -1}
	if inKey(l.kind) {
		l.id, l.info, err = parseID(rest)
		return l, true, err
	}
	slot, err := strconv.ParseUint(rest, 10, 31)
	if err != nil || strconv.FormatUint(slot, 10) != rest {
		return l, true, fmt.Errorf("no slot follows %q", form)
	}
	l.slot = int(slot)
	return l, true, nil
}

// parseEntry is parseKey for a key and its value.
func parseEntry(base, value string) (l label, ours bool, err error) {
	l, ours, err = parseKey(base)
	if !ours || err != nil {
		return l, ours, err
	}
	if l.value = value; l.slot < 0 {
		return l, true, nil
	}
	head, rest, ok := strings.Cut(value, "\n")
	if !ok {
		return l, true, fmt.Errorf("the value does not begin with a line of ID and info")
	}
	l.value = rest
	l.id, l.info, err = parseID(head)
	return l, true, err
}

// parseID reads ID-INFO.
func parseID(s string) (string, driver.Info, error) {
	id, encoded, ok := strings.Cut(s, "-")
	if !ok || !isID(id) {
		return "", driver.Info{}, fmt.Errorf("%.40q does not begin with an ID of 32 hex digits", s)
	}
	info, err := decodeInfo(encoded)
	return id, info, err
}

func named[T ~string](names map[byte]T, letter byte) T {
	if v, ok := names[letter]; ok {
		return v
	}
	return T(rune(letter))
}

func isID(s string) bool { return len(s) == 32 && isHex(s) }

func isHex(s string) bool {
	return s != "" && strings.Trim(s, "0123456789abcdef") == ""
}

func leaseHex(id clientv3.LeaseID) string { return strconv.FormatInt(int64(id), 16) }

func parseLease(s string) (clientv3.LeaseID, error) {
	id, err := strconv.ParseInt(s, 16, 64)
	return clientv3.LeaseID(id), err
}

// entry makes an entry of a key under the queue name. It is false for what is
// no entry: a key of a queue whose name continues this one's, or one that no
// lease keeps and that would bar the way for ever.
//
// A key of somebody else's making is an exclusive entry without ID and kind:
// concurrency.Mutex, concurrency.Election, etcdctl and the lock and election
// services all queue that way. So is one that claims to be ours and is
// garbled.
func (s *store) entry(name string, kv *mvccpb.KeyValue) (driver.Entry, bool, error) {
	key := string(kv.Key)
	base := strings.TrimPrefix(key, s.keys.dir(name))
	switch {
	case strings.Contains(base, "/"):
		return driver.Entry{}, false, nil
	case kv.Lease == 0:
		s.warnOnce(key, "fairlead: ignoring a key in a queue that has no lease; delete it", nil)
		return driver.Entry{}, false, nil
	}
	e := driver.Entry{
		Name:    name,
		Key:     key,
		Token:   uint64(kv.CreateRevision),
		Version: uint64(kv.ModRevision),
		Lease:   leaseHex(clientv3.LeaseID(kv.Lease)),
		Mode:    driver.Exclusive,
		Value:   string(kv.Value),
	}
	l, ours, err := parseEntry(base, e.Value)
	switch {
	case driver.IsPermanent(err):
		return driver.Entry{}, false, fmt.Errorf("queue %q: %w", name, err)
	case err != nil:
		s.warnOnce(key, "fairlead: taking a garbled key in a queue for a foreign one", err)
	case ours:
		e.ID, e.Kind, e.Mode, e.Info, e.Value = l.id, l.kind, l.mode, l.info, l.value
	}
	return e, true, nil
}

// entries makes entries of keys, leaving out what is none.
func (s *store) entries(name string, kvs []*mvccpb.KeyValue) ([]driver.Entry, error) {
	es := make([]driver.Entry, 0, len(kvs))
	for _, kv := range kvs {
		e, ok, err := s.entry(name, kv)
		if err != nil {
			return nil, err
		}
		if ok {
			es = append(es, e)
		}
	}
	return es, nil
}

// A sessionRecord is the value of a session key.
type sessionRecord struct {
	Identity string `json:"identity"`
}

func (r sessionRecord) encode() string {
	b, err := json.Marshal(r)
	if err != nil { // a string always can be
		panic("etcd: encode session record: " + err.Error())
	}
	return string(b)
}

func decodeSession(value []byte) (sessionRecord, error) {
	var r sessionRecord
	err := json.Unmarshal(value, &r)
	return r, err
}
