package demo

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// A screen shows the story, a line at a time, and on a terminal below it a panel
// that is drawn again whenever something changes.
type screen struct {
	out    *os.File
	live   bool
	colour bool
	shown  []string // the panel's lines as they stand there
}

// minHeight is what the panel and some story need.
const minHeight = 14

func newScreen(out *os.File) *screen {
	s := &screen{out: out}
	_, height, err := term.GetSize(int(out.Fd()))
	s.live = err == nil && height >= minHeight && os.Getenv("TERM") != "dumb"
	s.colour = s.live && os.Getenv("NO_COLOR") == ""
	return s
}

// What the terminal understands (ECMA-48).
const (
	cursorUp   = "\x1b[%dA"
	eraseBelow = "\x1b[J"
	bold       = "\x1b[1m"
	red        = "\x1b[1;31m"
	green      = "\x1b[1;32m"
	blue       = "\x1b[1;34m"
	plain      = "\x1b[0m"
)

// Topics of the story's lines.
const (
	topicStore    = "store"
	topicReplicas = "replicas"
	topicLeader   = "leader"
	topicLock     = "lock"
	topicPermits  = "permits"
	topicKill     = "KILL"
	topicFreeze   = "FREEZE"
	topicResume   = "RESUME"
	topicRegister = "register"
	topicEnd      = "end"
)

var colours = map[string]string{
	topicKill: red, topicFreeze: blue, topicResume: blue, topicLeader: green, topicRegister: red,
}

func (s *screen) paint(colour, text string) string {
	if !s.colour || colour == "" {
		return text
	}
	return colour + text + plain
}

// tell adds a line to the story.
func (s *screen) tell(at time.Duration, topic, text string) {
	s.print(fmt.Sprintf("%6.2f s  %s %s", at.Seconds(), s.paint(colours[topic], fmt.Sprintf("%-8s", topic)), text))
}

// print writes a line above the panel.
func (s *screen) print(line string) {
	panel := s.shown
	s.clear()
	_, _ = fmt.Fprintln(s.out, line)
	s.show(panel)
}

// draw replaces the panel.
func (s *screen) draw(panel []string) {
	if !s.live {
		return
	}
	width, _, err := term.GetSize(int(s.out.Fd()))
	if err != nil {
		return
	}
	lines := make([]string, len(panel))
	for i, line := range panel {
		if len(line) >= width {
			line = line[:max(0, width-1)] // a line that wraps would be two
		}
		lines[i] = line
	}
	if strings.Join(lines, "\n") == strings.Join(s.shown, "\n") {
		return
	}
	s.clear()
	s.show(lines)
}

// clear removes the panel.
func (s *screen) clear() {
	if len(s.shown) > 0 {
		_, _ = fmt.Fprintf(s.out, cursorUp+"\r"+eraseBelow, len(s.shown))
	}
	s.shown = nil
}

func (s *screen) show(panel []string) {
	for _, line := range panel {
		_, _ = fmt.Fprintln(s.out, s.paint(bold, line))
	}
	s.shown = panel
}
