package check

import (
	"fmt"
	"html"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A picture is drawn of what is around a violation: a row for each client, in which
// what is held is green and what is waited for grey, below the faults.
const (
	before, after = 6 * time.Second, 3 * time.Second
	width         = 1600
	labels        = 110 // width of the names of rows
	rowHeight     = 22
)

// Draw draws the time around the first violation that has one, or else the end of
// the run, and returns the file's path.
func (c *Case) Draw(violations []Violation) (string, error) {
	v := Violation{At: c.End}
	if i := slices.IndexFunc(violations, func(v Violation) bool { return v.At != 0 }); i >= 0 {
		v = violations[i]
	}
	p := &picture{Case: c, from: v.At - int64(before), to: v.At + int64(after)}
	p.faults()
	p.tries(v.Name)
	p.marker(v.At)
	path := filepath.Join(c.Dir, "timeline.svg")
	text := fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">
<rect width="100%%" height="100%%" fill="white"/>
%s</svg>
`, width, p.y+rowHeight, p.b.String())
	return path, os.WriteFile(path, []byte(text), 0o644)
}

type picture struct {
	*Case
	from, to int64
	y        int
	b        strings.Builder
}

func (p *picture) x(at int64) float64 {
	at = min(max(at, p.from), p.to)
	return labels + float64(width-labels)*float64(at-p.from)/float64(p.to-p.from)
}

func (p *picture) text(x float64, y int, s string) {
	fmt.Fprintf(&p.b, `<text x="%.1f" y="%d">%s</text>`+"\n", x, y+rowHeight-8, html.EscapeString(s))
}

func (p *picture) bar(from, to int64, inset int, colour, title string) {
	if to < p.from || from > p.to {
		return
	}
	fmt.Fprintf(&p.b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"><title>%s</title></rect>`+"\n",
		p.x(from), p.y+inset, max(p.x(to)-p.x(from), 1), rowHeight-2*inset-2, colour, html.EscapeString(title))
}

func (p *picture) faults() {
	for i := range p.Strikes {
		s := &p.Strikes[i]
		if s.To < p.from || s.From > p.to {
			continue
		}
		p.text(4, p.y, p.since(s.From))
		p.bar(s.From, max(s.To, s.Done), 1, "#f4a6a0", s.Text)
		p.text(p.x(s.From)+3, p.y, s.Text)
		p.y += rowHeight
	}
	p.y += rowHeight / 2
}

// tries draws a row for each life and kind; with a name, for that alone.
func (p *picture) tries(name string) {
	for i := range p.Lives {
		l := &p.Lives[i]
		rows := map[string][]*Try{}
		for _, t := range p.Tries {
			if t.Life == l && (name == "" || t.Name == name) && t.Called < p.to && (t.Returned == 0 || t.Ended() > p.from) {
				rows[t.Kind()] = append(rows[t.Kind()], t)
			}
		}
		for kind, row := range rows {
			p.text(4, p.y, l.Name+" "+kind)
			for _, t := range row {
				p.try(t)
			}
			p.y += rowHeight
		}
	}
}

func (p *picture) try(t *Try) {
	asked := t.Returned
	if asked == 0 {
		asked = p.to
	}
	title := p.story(t)
	p.bar(t.Called, asked, 7, "#cccccc", title)
	if !t.Granted() {
		return
	}
	colour := "#5fae6b"
	if !t.Exclusive() {
		colour = "#9fd3a8"
	}
	p.bar(t.Returned, min(t.Ended(), p.to), 2, colour, title)
	if t.Lost != 0 {
		p.bar(t.Lost, t.Lost, 0, "#c0392b", "loss seen: "+title)
	}
}

// marker is the line through the moment of the violation.
func (p *picture) marker(at int64) {
	fmt.Fprintf(&p.b, `<line x1="%.1f" x2="%.1f" y1="0" y2="%d" stroke="#c0392b" stroke-dasharray="4 3"/>`+"\n", p.x(at), p.x(at), p.y)
	p.text(p.x(at)+3, p.y, p.since(at))
}
