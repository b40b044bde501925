package top

import (
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"
)

// press does what a key is for.
func (m *Model) press(msg tea.KeyPressMsg) tea.Cmd {
	switch key := msg.String(); {
	case key == "ctrl+c":
		return tea.Quit
	case key == "ctrl+z":
		return tea.Suspend
	case m.filtering:
		m.edit(key, msg.Text)
		return nil
	case key == "q":
		return tea.Quit
	case m.open != nil:
		m.pressOpen(key)
		return nil
	default:
		return m.pressList(key)
	}
}

func (m *Model) pressList(key string) tea.Cmd {
	if by, ok := m.distance(key); ok {
		m.move(by)
		return nil
	}
	switch key {
	case "enter", "right", "l":
		return m.enter()
	case "/":
		m.filtering = true
	case "esc":
		m.filter = ""
		m.keep(0)
	}
	return nil
}

func (m *Model) pressOpen(key string) {
	if by, ok := m.distance(key); ok {
		m.open.first = max(m.open.first+by, 0) // View bounds it on the other side
		return
	}
	switch key {
	case "esc", "left", "h", "backspace":
		m.leave()
	}
}

// distance returns how far a key moves; the ends are farther than anything.
func (m *Model) distance(key string) (lines int, ok bool) {
	const end = 1 << 30
	switch key {
	case "up", "k":
		return -1, true
	case "down", "j":
		return 1, true
	case "pgup":
		return -m.rows(), true
	case "pgdown", "space":
		return m.rows(), true
	case "home", "g":
		return -end, true
	case "end", "G":
		return end, true
	}
	return 0, false
}

// edit changes the filter, which works from the first letter on.
func (m *Model) edit(key, text string) {
	switch key {
	case "enter":
		m.filtering = false
	case "esc":
		m.filtering, m.filter = false, ""
	case "backspace":
		_, n := utf8.DecodeLastRuneInString(m.filter)
		m.filter = m.filter[:len(m.filter)-n]
	default:
		m.filter += text
	}
	m.keep(0)
}
