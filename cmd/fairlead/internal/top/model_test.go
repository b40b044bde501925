package top

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"go.uber.org/goleak"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/memory"
	"github.com/fairlead-go/fairlead/watch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait that is expected to end much sooner.
const patience = time.Minute

// A desk is a model before a real store in memory, with the keyboard of a test.
type desk struct {
	t     *testing.T
	store *memory.Store
	m     *Model
	quit  bool
}

func newDesk(t *testing.T, opts Options) *desk {
	t.Helper()
	d := &desk{t: t, store: memory.NewStore()}
	ctx, cancel := context.WithCancel(context.Background())
	d.m = New(ctx, Of(d.session("looker")), opts)
	t.Cleanup(func() { // before the session is closed
		cancel()
		d.m.Wait()
	})
	return d
}

func (d *desk) session(identity string) *session.Session {
	d.t.Helper()
	s, err := d.store.Session(d.t.Context(), &session.Options{Identity: identity})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = s.Close(context.Background()) })
	return s
}

// hold lets one hold a name and others wait for it.
func (d *desk) hold(name string, waiters int) *session.Grant {
	d.t.Helper()
	g, err := mutex.NewWith(d.session("holder of "+name), name, &mutex.Options{Note: "note of " + name}).Lock(d.t.Context())
	if err != nil {
		d.t.Fatal(err)
	}
	for i := range waiters {
		s := d.session(fmt.Sprintf("waiter %d", i))
		queued := make(chan uint64, 1)
		go func() {
			_, _ = mutex.NewWith(s, name, &mutex.Options{Queued: func(token uint64) { queued <- token }}).Lock(context.Background())
		}()
		<-queued
	}
	return g
}

// update hands the model a message, and returns what follows from it.
func (d *desk) update(msg tea.Msg) tea.Cmd {
	m, cmd := d.m.Update(msg)
	d.m = m.(*Model)
	return cmd
}

// list lets the model read the list.
func (d *desk) list() { d.update(d.m.list()) }

// press presses keys, each by its name or a letter, and performs what follows: that is
// the first state of what is opened.
func (d *desk) press(keys ...string) {
	d.t.Helper()
	special := map[string]rune{
		"enter": tea.KeyEnter, "esc": tea.KeyEscape, "up": tea.KeyUp, "down": tea.KeyDown, "backspace": tea.KeyBackspace,
		"end": tea.KeyEnd, "home": tea.KeyHome, "pgdown": tea.KeyPgDown,
	}
	for _, key := range keys {
		msg := tea.KeyPressMsg{Text: key, Code: []rune(key)[0]}
		if code, ok := special[key]; ok {
			msg = tea.KeyPressMsg{Code: code}
		}
		if key == "ctrl+c" {
			msg = tea.KeyPressMsg{Code: 'c', Mod: tea.ModCtrl}
		}
		if cmd := d.update(msg); cmd != nil {
			next := cmd()
			if _, ok := next.(tea.QuitMsg); ok {
				d.quit = true
				return
			}
			d.update(next)
		}
	}
}

// screen returns the lines on the screen, without attributes.
func (d *desk) screen() []string {
	d.t.Helper()
	v := d.m.View()
	if !v.AltScreen {
		d.t.Error("it does not take the full screen")
	}
	lines := strings.Split(ansi.Strip(v.Content), "\n")
	if len(lines) != d.m.height {
		d.t.Errorf("%d lines on a screen of %d:\n%s", len(lines), d.m.height, strings.Join(lines, "\n"))
	}
	for _, line := range lines {
		if w := ansi.StringWidth(line); w > d.m.width {
			d.t.Errorf("%d cells on a screen of %d: %q", w, d.m.width, line)
		}
	}
	return lines
}

func (d *desk) shows(parts ...string) {
	d.t.Helper()
	text := strings.Join(d.screen(), "\n")
	for _, part := range parts {
		if !strings.Contains(text, part) {
			d.t.Errorf("%q is not on the screen:\n%s", part, text)
		}
	}
}

func (d *desk) hides(parts ...string) {
	d.t.Helper()
	text := strings.Join(d.screen(), "\n")
	for _, part := range parts {
		if strings.Contains(text, part) {
			d.t.Errorf("%q is on the screen:\n%s", part, text)
		}
	}
}

func TestBusiestNamesComeFirst(t *testing.T) {
	d := newDesk(t, Options{})
	d.shows("reading")
	d.list()
	d.shows("no name is in use")
	d.hold("a/idle", 0)
	d.hold("b/busy", 1)
	d.hold("c/busiest", 2)
	d.list()
	lines := d.screen()
	for i, name := range []string{"c/busiest", "b/busy", "a/idle"} {
		if !strings.Contains(lines[3+i], name) {
			t.Errorf("line %d is %q, want %s", 3+i, lines[3+i], name)
		}
	}
	d.shows("names: 3, waited for: 2", "> c/busiest")
}

func TestCursorStaysOnItsName(t *testing.T) {
	d := newDesk(t, Options{})
	d.hold("a", 0)
	b := d.hold("b", 1)
	d.list()
	d.press("down")
	d.shows("> a")
	d.hold("c", 3)
	d.list()
	d.shows("> a")
	d.press("up", "up", "up")
	d.shows("> c")
	d.press("end")
	d.shows("> a")
	d.press("home", "down")
	d.shows("> b")
	if err := b.Release(t.Context()); err != nil { // the waiter has it then
		t.Fatal(err)
	}
	d.list()
	d.shows("> b")
}

func TestEnterOpensTheNameLive(t *testing.T) {
	d := newDesk(t, Options{})
	g := d.hold("prod", 2)
	d.list()
	d.press("enter")
	d.shows("prod", "holder of prod", "HELD AT MOST", "waiter 0", "waiter 1", "WAITS FOR", "#1", "note of prod", "esc back")
	if err := g.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(patience)
	for strings.Contains(strings.Join(d.screen(), "\n"), "holder of prod") {
		if time.Now().After(deadline) {
			t.Fatal("the change was never seen")
		}
		d.update(d.m.open.from.next())
	}
	d.shows("waiter 0", "1 waiter")
	late := d.m.open.from
	d.press("esc")
	d.shows("> prod", "enter open")
	if cmd := d.update(seen{from: late, queue: watch.Snapshot{Name: "late"}}); cmd != nil {
		t.Error("what was closed is followed on")
	}
	d.hides("late")
	for more := true; more; { // what is closed is not watched on
		select {
		case _, more = <-late.states:
		case <-time.After(patience):
			t.Fatal("the watch of a closed name goes on")
		}
	}
}

func TestFilterShowsWhatContainsIt(t *testing.T) {
	d := newDesk(t, Options{})
	for _, name := range []string{"billing/a", "billing/q", "reports"} {
		d.hold(name, 0)
	}
	d.list()
	d.press("/")
	for _, key := range "inGX" {
		d.press(string(key))
	}
	d.shows("/inGX_", "names: 0,")
	d.press("enter", "enter", "/") // there is nothing to open
	d.press("backspace", "/", "q") // a letter like others
	d.shows("/inG/q_")
	d.press("backspace")
	d.shows("> billing/", "names: 2,")
	d.hides("reports")
	d.press("enter")
	d.shows("names that contain inG/")
	d.press("esc")
	d.shows("reports")
	d.press("/", "r", "esc")
	d.shows("billing/a", "names: 3,")
}

func TestLongListsAreScrolled(t *testing.T) {
	d := newDesk(t, Options{})
	var queues []watch.Snapshot
	for i := range 1000 {
		queues = append(queues, watch.Snapshot{Name: fmt.Sprintf("name/%04d", i), Kind: "mutex", Holders: []watch.Entry{{Token: 1}}})
	}
	for _, height := range []int{24, 6, 2, 1} {
		d.update(tea.WindowSizeMsg{Width: 80, Height: height})
		d.update(listed{queues: queues})
		d.press("home")
		if height >= 5 {
			d.shows("> name/0000")
		}
		d.press("end")
		if height >= 5 {
			d.shows("> name/0999")
		}
		d.press("up", "pgdown", "up", "up")
		if height >= 5 {
			d.shows("> name/0997")
		}
	}
	d.update(tea.WindowSizeMsg{Width: 20, Height: 24})
	d.shows("> name/0997")
	d.update(listed{queues: queues[:10]})
	d.shows("> name/0009")
}

func TestTroubleIsShownBesideWhatIsKnown(t *testing.T) {
	d := newDesk(t, Options{})
	d.hold("known", 0)
	d.list()
	d.update(listed{err: errors.New("no way\x1b[2J")})
	d.shows("> known", `not up to date: no way\x1b[2J`)
	d.list()
	d.hides("not up to date")
	d.press("enter")
	d.update(seen{from: d.m.open.from, err: errors.New("no way")})
	d.shows("known", "holder of known", "not up to date: no way")
}

func TestQueueOfAnyLengthIsScrolled(t *testing.T) {
	d := newDesk(t, Options{})
	d.hold("long", 0)
	d.list()
	d.press("enter")
	q := watch.Snapshot{Name: "long", Kind: "mutex", Holders: []watch.Entry{{Token: 1, Identity: "the holder"}}}
	for i := range 100 {
		q.Waiters = append(q.Waiters, watch.Entry{Token: uint64(i + 2), Identity: fmt.Sprintf("waiter-%d", i), WaitsFor: []uint64{uint64(i + 1)}})
	}
	d.update(seen{from: d.m.open.from, queue: q})
	d.shows("the holder", "waiter-9", "waiter-0")
	d.press("end")
	d.shows("waiter-99")
	d.hides("the holder")
	d.press("up", "home")
	d.shows("the holder")
}

func TestKeysQuit(t *testing.T) {
	for _, keys := range [][]string{{"q"}, {"ctrl+c"}, {"/", "ctrl+c"}, {"enter", "q"}} {
		d := newDesk(t, Options{})
		d.hold("a", 0)
		d.list()
		if d.press(keys...); !d.quit {
			t.Errorf("%v do not quit", keys)
		}
	}
}

func TestColoursAreLeftOutOnRequest(t *testing.T) {
	for _, colour := range []bool{false, true} {
		d := newDesk(t, Options{Colour: colour})
		d.hold("busy", 1)
		d.hold("busier", 2)
		d.list()
		d.update(listed{err: errors.New("trouble")})
		content := d.m.View().Content
		if got := strings.Contains(content, "\x1b[3"); got != colour {
			t.Errorf("colours: %t, want %t, in %q", got, colour, content)
		}
	}
}
