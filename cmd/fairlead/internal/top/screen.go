package top

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/fairlead-go/fairlead/cmd/fairlead/internal/view"
	"github.com/fairlead-go/fairlead/watch"
)

// chrome is how many lines there are beside the rows: the title, an empty one, the
// heading, and the keys.
const chrome = 4

// rows returns how many rows fit the screen.
func (m *Model) rows() int { return max(m.height-chrome, 1) }

// View draws the screen.
func (m *Model) View() tea.View {
	var lines []string
	if m.open != nil {
		lines = m.viewOpen()
	} else {
		lines = m.viewList()
	}
	for i, line := range lines {
		lines[i] = view.Fit(line, m.width)
	}
	v := tea.NewView(strings.Join(lines, "\n"))
	v.AltScreen = true
	return v
}

func (m *Model) viewList() []string {
	shown := m.shown()
	table := view.List(shown, m.now()).Lines(m.width - len(cursorMark))
	lines := []string{m.title(shown), m.second(), faint("  " + table[0])}
	at := m.cursor(shown)
	m.first = min(max(m.first, at-m.rows()+1, 0), max(at, 0), max(len(shown)-m.rows(), 0))
	for i := m.first; i < min(m.first+m.rows(), len(shown)); i++ {
		lines = append(lines, m.row(table[i+1], i == at, len(shown[i].Waiters) > 0))
	}
	return m.filled(lines, "↑↓ move   enter open   / filter   q quit")
}

// cursorMark stands before the selected row, which no colour is needed to see.
const cursorMark = "> "

func (m *Model) row(text string, selected, busy bool) string {
	switch {
	case selected:
		return ansi.NewStyle().Reverse(true).Styled(cursorMark + text)
	case busy && m.colour:
		return ansi.NewStyle().ForegroundColor(ansi.Yellow).Styled("  " + text)
	}
	return "  " + text
}

func (m *Model) title(shown []watch.Snapshot) string {
	busy := 0
	for _, q := range shown {
		if len(q.Waiters) > 0 {
			busy++
		}
	}
	text := fmt.Sprintf("fairlead top   names: %d, waited for: %d   %s", len(shown), busy, view.Clock(m.now(), m.now()))
	if m.prefix != "" {
		text += "   under " + view.Text(m.prefix)
	}
	return ansi.NewStyle().Bold().Styled(text)
}

// second is the line below the title: trouble, the filter, or what else there is to
// say.
func (m *Model) second() string {
	switch {
	case m.filtering:
		return "/" + view.Text(m.filter) + "_"
	case m.trouble != nil:
		return m.alarm("not up to date: " + view.Text(m.trouble.Error()))
	case m.filter != "":
		return "names that contain " + view.Text(m.filter) + " (esc: all)"
	case !m.read:
		return "reading …"
	case len(m.all) == 0:
		return "no name is in use"
	}
	return ""
}

func (m *Model) viewOpen() []string {
	o := m.open
	title := ansi.NewStyle().Bold().Styled("fairlead top   " + view.Text(o.name) + "   " + view.Clock(m.now(), m.now()))
	second := ""
	var body []string
	switch {
	case o.trouble != nil:
		second = m.alarm("not up to date: " + view.Text(o.trouble.Error()))
	case !o.read:
		second = "reading …"
	}
	if o.read {
		body = view.Show(o.queue, m.now(), m.width, 0)
	}
	fits := max(m.height-3, 1) // beside the title, the second line and the keys
	o.first = min(o.first, max(len(body)-fits, 0))
	lines := append([]string{title, second}, body[o.first:min(o.first+fits, len(body))]...)
	return m.filled(lines, "esc back   ↑↓ scroll   q quit")
}

func (m *Model) alarm(text string) string {
	if m.colour {
		return ansi.NewStyle().ForegroundColor(ansi.Red).Styled(text)
	}
	return text
}

// filled fills the screen up to its last line, which says what keys do.
func (m *Model) filled(lines []string, keys string) []string {
	lines = lines[:min(len(lines), max(m.height-1, 0))]
	for len(lines) < m.height-1 {
		lines = append(lines, "")
	}
	return append(lines, faint(keys))
}

func faint(text string) string { return ansi.NewStyle().Faint().Styled(text) }
