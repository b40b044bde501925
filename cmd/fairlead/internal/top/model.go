package top

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/fairlead-go/fairlead/cmd/fairlead/internal/view"
	"github.com/fairlead-go/fairlead/watch"
)

// Options of a model.
type Options struct {
	Prefix string           // of the names that are listed
	Colour bool             // whether the terminal may get colours
	Now    func() time.Time // nil: time.Now
}

// A Model is what is shown, and what keys do to it; see [tea.Model]. Its methods are
// called by one goroutine.
type Model struct {
	ctx    context.Context
	source Source
	prefix string
	colour bool
	now    func() time.Time
	work   sync.WaitGroup // of followings

	width, height int

	all       []watch.Snapshot // as listed, the busiest first
	read      bool             // all has been read once
	trouble   error            // why it could not be read the last time
	filter    string           // what names have to contain
	filtering bool             // keys go to the filter
	selected  string           // the name under the cursor
	first     int              // the index of the first one that is on the screen

	open *opened // nil while the list is shown
}

// opened is the name that is open.
type opened struct {
	name    string
	from    *following
	queue   watch.Snapshot
	read    bool
	trouble error
	first   int // the index of the first line that is on the screen
}

// New returns a model, which works until ctx ends. The screen has 80 by 24 cells until
// it is told another size.
func New(ctx context.Context, source Source, opts Options) *Model {
	m := &Model{ctx: ctx, source: source, prefix: opts.Prefix, colour: opts.Colour, now: opts.Now, width: 80, height: 24}
	if m.now == nil {
		m.now = time.Now
	}
	return m
}

// Wait waits until nothing of the model runs any more. Its context must have ended.
func (m *Model) Wait() { m.work.Wait() }

// Init begins to read the list.
func (m *Model) Init() tea.Cmd { return tea.Batch(m.list, tick()) }

// Update takes a message.
func (m *Model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		return m, m.press(msg)
	case ticked:
		return m, tick()
	case due:
		return m, m.list
	case listed:
		if m.trouble = msg.err; msg.err == nil {
			m.take(msg.queues)
		}
		return m, tea.Tick(max(listInterval, listShare*msg.took), func(time.Time) tea.Msg { return due{} })
	case seen:
		if m.open == nil || m.open.from != msg.from {
			return m, nil // it has been closed
		}
		if m.open.trouble = msg.err; msg.err == nil {
			m.open.queue, m.open.read = msg.queue, true
		}
		return m, msg.from.next
	}
	return m, nil
}

// take takes another list.
func (m *Model) take(queues []watch.Snapshot) {
	now := m.now()
	slices.SortStableFunc(queues, func(a, b watch.Snapshot) int {
		heldA, _ := view.HeldAtMost(a, now)
		heldB, _ := view.HeldAtMost(b, now)
		return cmp.Or(cmp.Compare(len(b.Waiters), len(a.Waiters)), cmp.Compare(heldB, heldA), strings.Compare(a.Name, b.Name))
	})
	at := m.cursor(m.shown())
	m.all, m.read = queues, true
	m.keep(at)
}

// shown returns the queues that the filter lets through.
func (m *Model) shown() []watch.Snapshot {
	if m.filter == "" {
		return m.all
	}
	var some []watch.Snapshot
	for _, q := range m.all {
		if strings.Contains(strings.ToLower(q.Name), strings.ToLower(m.filter)) {
			some = append(some, q)
		}
	}
	return some
}

// cursor returns the index of the selected name, and -1 if it is not shown.
func (m *Model) cursor(shown []watch.Snapshot) int {
	return slices.IndexFunc(shown, func(q watch.Snapshot) bool { return q.Name == m.selected })
}

// keep keeps a name selected: the same as before wherever it is now, else whatever is
// at that index.
func (m *Model) keep(at int) {
	if shown := m.shown(); m.cursor(shown) < 0 && len(shown) > 0 {
		m.selected = shown[min(max(at, 0), len(shown)-1)].Name
	}
}

// move moves the cursor.
func (m *Model) move(by int) {
	if shown := m.shown(); len(shown) > 0 {
		m.selected = shown[min(max(m.cursor(shown)+by, 0), len(shown)-1)].Name
	}
}

// enter opens the selected name.
func (m *Model) enter() tea.Cmd {
	if m.cursor(m.shown()) < 0 {
		return nil
	}
	m.open = &opened{name: m.selected, from: m.follow(m.selected)}
	return m.open.from.next
}

// leave goes back to the list.
func (m *Model) leave() {
	m.open.from.end()
	m.open = nil
}
