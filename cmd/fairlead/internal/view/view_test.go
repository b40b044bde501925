package view

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"

	"github.com/fairlead-go/fairlead/election"
	"github.com/fairlead-go/fairlead/watch"
)

var update = flag.Bool("update", false, "write what is printed into testdata")

func TestMain(m *testing.M) {
	time.Local = time.UTC // golden files have times of day
	os.Exit(m.Run())
}

// moment is when everything here is seen.
var moment = time.Date(2026, 11, 26, 3, 4, 5, 678_900_000, time.UTC)

func ago(d time.Duration) time.Time { return moment.Add(-d) }

// queues are of each kind, with what others may write into them.
func queues() []watch.Snapshot {
	lock := func(token uint64, who, note string, since time.Duration, waitsFor ...uint64) watch.Entry {
		return watch.Entry{
			Token: token, Identity: who, Kind: "mutex", Mode: "exclusive", Note: note, Key: "deploy/k", Since: ago(since), WaitsFor: waitsFor,
		}
	}
	holder := lock(41, "host-b/77", "deploy.sh --env prod", 12*time.Minute+3*time.Second)
	holder.TTLLeft = 11200 * time.Millisecond
	entry := func(token uint64, kind, mode string, weight int64, waitsFor ...uint64) watch.Entry {
		return watch.Entry{
			Token: token, Identity: "host/" + string(rune('a'+token%26)), Kind: kind, Mode: mode, Weight: weight, Key: "k",
			Since: ago(time.Duration(100-token) * time.Hour), WaitsFor: waitsFor,
		}
	}
	hostile := entry(9, "election", "exclusive", 0)
	hostile.Identity, hostile.Note, hostile.Value = "\x1b]0;owned\a", "\x1b[31mred\u202egnp.exe", "קוד 17 \xff\n<b>"
	return []watch.Snapshot{
		{
			Name: "billing/leader", Kind: "election", Holders: []watch.Entry{hostile},
		},
		{
			Name: "catalog", Kind: "rwmutex", Holders: []watch.Entry{entry(1, "rwmutex", "shared", 0), entry(2, "rwmutex", "shared", 0)},
			Waiters: []watch.Entry{
				entry(3, "rwmutex", "exclusive", 0, 2), entry(4, "rwmutex", "shared", 0, 3), entry(5, "rwmutex", "exclusive", 0, 4),
			},
		},
		{
			Name: "deploy/prod", Kind: "mutex", Holders: []watch.Entry{holder},
			Waiters: []watch.Entry{lock(45, "host-a/93", "deploy.sh --env prod", 11*time.Minute, 41), lock(46, "host-c/12", "", 40*time.Second, 45)},
		},
		{
			Name: "etcdctl", Holders: []watch.Entry{{Token: 7, Mode: "exclusive", Key: "etcdctl/694d9f1b"}},
			Waiters: []watch.Entry{{Token: 8, Mode: "exclusive", Key: "etcdctl/694d9f1c", WaitsFor: []uint64{7}}},
		},
		{
			Name: "render", Kind: "semaphore", Limit: 4,
			Holders: []watch.Entry{entry(11, "semaphore", "permit", 2), entry(12, "semaphore", "permit", 1)},
			Waiters: []watch.Entry{
				entry(13, "semaphore", "permit", 2, 11, 12), entry(14, "semaphore", "permit", 1, 13), entry(15, "semaphore", "permit", 9),
			},
		},
	}
}

// golden compares text with a file in testdata.
func golden(t *testing.T, file, text string) {
	t.Helper()
	path := filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("%s, with -update what it is now, differs from:\n%s", path, text)
	}
}

func TestTablesAreAsBefore(t *testing.T) {
	golden(t, "list.txt", strings.Join(List(queues(), moment).Lines(0), "\n")+"\n")
	var all []string
	for _, q := range append(queues(), watch.Snapshot{Name: "nobody"}) {
		all = append(all, Show(q, moment, 0, 0)...)
		all = append(all, "----")
	}
	golden(t, "show.txt", strings.Join(all, "\n")+"\n")
	golden(t, "leader.txt", strings.Join(append(LeaderTable(election.Leader{Value: "10.0.0.7:80", Identity: "host/1", Token: 42}).Lines(0),
		LeaderLine(election.Leader{Value: "10.0.0.7:80", Identity: "host/1", Token: 42}, moment),
		LeaderLine(election.Leader{}, moment)), "\n")+"\n")
}

func TestChangesAreAsBefore(t *testing.T) {
	qs := queues()
	deploy, render, catalog := qs[2], qs[4], qs[1]
	handed := watch.Snapshot{Name: deploy.Name, Kind: "mutex", Holders: deploy.Waiters[:1], Waiters: deploy.Waiters[1:]}
	resized := render
	resized.Limit, resized.Holders, resized.Waiters = 5, append(slices.Clone(render.Holders), render.Waiters[0]), render.Waiters[1:]
	written := watch.Snapshot{Name: catalog.Name, Holders: []watch.Entry{catalog.Waiters[0]}}
	downgraded := watch.Snapshot{Name: catalog.Name, Holders: []watch.Entry{catalog.Waiters[0]}}
	downgraded.Holders[0].Mode = "shared"
	var all []string
	for _, c := range [][2]watch.Snapshot{
		{{}, {Name: "nobody"}},
		{{}, deploy},
		{deploy, handed},
		{handed, {Name: deploy.Name}},
		{render, resized},
		{written, downgraded},
		{{}, qs[0]},
	} {
		all = append(all, Changes(c[0], c[1], moment)...)
		all = append(all, "----")
	}
	golden(t, "changes.txt", strings.Join(all, "\n")+"\n")
}

func TestWaitingTellsPlaceAndHolder(t *testing.T) {
	qs := queues()
	var all []string
	for _, c := range []struct {
		q     watch.Snapshot
		token uint64
	}{{qs[2], 46}, {qs[4], 13}, {qs[3], 8}, {watch.Snapshot{Name: "x", Waiters: qs[4].Waiters}, 14}} {
		line, waits := Waiting(c.q, c.token, moment)
		if !waits {
			t.Errorf("token %d is said not to wait", c.token)
		}
		all = append(all, line)
	}
	golden(t, "waiting.txt", strings.Join(all, "\n")+"\n")
	if line, waits := Waiting(qs[2], 41, moment); waits {
		t.Errorf("a holder waits: %s", line)
	}
}

func TestJSONIsAsBefore(t *testing.T) {
	var b bytes.Buffer
	var all []Queue
	for _, q := range append(queues(), watch.Snapshot{Name: "nobody"}) {
		all = append(all, QueueOf(q, moment))
	}
	for _, v := range []any{all, LeadershipOf("a", election.Leader{Value: "v", Identity: "i", Token: 3}, moment), LeadershipOf("a", election.Leader{}, moment)} {
		if err := Write(&b, v, true); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "queues.json", b.String())
}

// What programs rely on is in the documents, and nothing else is.
func TestFieldsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../../../docs/command-line.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|").FindAllStringSubmatch(string(text), -1) {
		documented[m[1]] = true
	}
	fields := map[string]bool{}
	for _, v := range []any{Queue{}, Entry{}, Leadership{}, Leader{}, Finding{}} {
		for i := range reflect.TypeOf(v).NumField() {
			name, _, _ := strings.Cut(reflect.TypeOf(v).Field(i).Tag.Get("json"), ",")
			if fields[name] = true; !documented[name] {
				t.Errorf("docs/command-line.md does not tell of the field %q", name)
			}
		}
	}
	for name := range documented {
		if !fields[name] {
			t.Errorf("docs/command-line.md tells of a field %q, which does not exist", name)
		}
	}
}

// driving are the runes by which content could drive a terminal or mislead a reader.
func driving(text string) []rune {
	var found []rune
	for _, r := range text {
		if !printable(r) && r != '\n' && string(r) != firstStrongIsolate && string(r) != popDirectionalIsolate {
			found = append(found, r)
		}
	}
	return found
}

func FuzzNothingDrivesTheTerminal(f *testing.F) {
	for _, s := range []string{"", "plain", "\x1b[2J", "\u009b2J", "a\u202eb", "\xff\xfe", "\u2066x", "שלום\x07", "日本語", "\U000e0001tag", "e\u0301\u200d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e := watch.Entry{Token: 1, Identity: s, Kind: s, Mode: s, Note: s, Value: s, Key: s, Since: ago(time.Hour)}
		q := watch.Snapshot{Name: s, Kind: s, Holders: []watch.Entry{e}, Waiters: []watch.Entry{e}}
		lines := slices.Concat(Show(q, moment, 80, 0), Show(q, moment, 0, 0), List([]watch.Snapshot{q}, moment).Lines(80),
			Changes(watch.Snapshot{}, q, moment), LeaderTable(election.Leader{Value: s, Identity: s}).Lines(0),
			[]string{LeaderLine(election.Leader{Value: s, Identity: s, Token: 1}, moment)})
		if line, waits := Waiting(q, 1, moment); waits {
			lines = append(lines, line)
		}
		for _, line := range lines {
			if strings.Contains(line, "\n") {
				t.Errorf("%q makes more than one line: %q", s, line)
			}
			if found := driving(line); len(found) > 0 {
				t.Errorf("%q gets %q through: %q", s, found, line)
			}
			if opened, closed := strings.Count(line, firstStrongIsolate), strings.Count(line, popDirectionalIsolate); opened != closed {
				t.Errorf("%q opens %d isolates and closes %d: %q", s, opened, closed, line)
			}
		}
		for _, line := range append(Show(q, moment, 80, 0), List([]watch.Snapshot{q}, moment).Lines(80)...) {
			if ansi.StringWidth(line) > 80 {
				t.Errorf("%q makes a line of %d cells: %q", s, ansi.StringWidth(line), line)
			}
		}
		var b bytes.Buffer
		if err := Write(&b, QueueOf(q, moment), true); err != nil {
			t.Fatal(err)
		}
		if found := driving(b.String()); len(found) > 0 {
			t.Errorf("%q gets %q through as JSON: %q", s, found, b.String())
		}
		var back Queue
		if err := json.Unmarshal(b.Bytes(), &back); err != nil || utf8.ValidString(s) && back.Name != s {
			t.Errorf("%q comes back as %q, %v", s, back.Name, err)
		}
	})
}

// A screen of 80 cells shows who holds and what each waits for, whatever is long.
func TestShowFitsTheScreen(t *testing.T) {
	q := queues()[2]
	q.Holders[0].Note = strings.Repeat("long ", 50)
	q.Holders[0].Identity = strings.Repeat("very-", 20) + "long.example/1234"
	for len(q.Waiters) < 100 {
		q.Waiters = append(q.Waiters, q.Waiters[1])
	}
	lines := Show(q, moment, 80, 8)
	if len(lines) > 24-2 {
		t.Errorf("it takes %d lines", len(lines))
	}
	text := strings.Join(lines, "\n")
	for _, want := range []string{"HELD AT MOST", "12m03s", "11s", "WAITS FOR", "holder 41", "#1", "… and 92 more"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in:\n%s", want, text)
		}
	}
	for _, line := range lines {
		if w := ansi.StringWidth(line); w > 80 {
			t.Errorf("a line of %d cells: %q", w, line)
		}
	}
}

func TestSpansHaveTwoUnits(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 59*time.Second + 999*time.Millisecond: "59s", 61 * time.Second: "1m01s", 3*time.Hour + 4*time.Minute: "3h04m",
		50 * time.Hour: "2d02h",
	} {
		if got := Span(d); got != want {
			t.Errorf("%v is shown as %s, want %s", d, got, want)
		}
	}
}
