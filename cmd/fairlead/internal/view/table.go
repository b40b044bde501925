package view

import (
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// A Column of a [Table].
type Column struct {
	Title string
	Right bool // for numbers
}

// A Table is laid out in columns. Those that are empty in all rows are left out.
type Table struct {
	Columns []Column
	Rows    [][]string // as they come from the store: the table makes them safe
}

// minColumn is the width below which no column is shortened for others to fit.
const minColumn = 8

// Lines returns the heading and the rows, in lines of at most width cells if it is
// not 0: texts are cut then, the longest first, and in the end those at the right.
func (t *Table) Lines(width int) []string {
	cells := make([][]string, 0, len(t.Rows)+1)
	titles := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		titles[i] = c.Title
	}
	cells = append(cells, titles)
	for _, row := range t.Rows {
		safe := make([]string, len(row))
		for i, text := range row {
			safe[i] = cut(Escape(text), maxText)
		}
		cells = append(cells, safe)
	}
	widths := t.widths(cells, width)
	lines := make([]string, len(cells))
	for i, row := range cells {
		lines[i] = t.line(row, widths, width)
	}
	return lines
}

// widths returns how wide each column is; 0 is one that is left out.
func (t *Table) widths(cells [][]string, width int) []int {
	widths := make([]int, len(t.Columns))
	for _, row := range cells[1:] {
		for i, text := range row {
			widths[i] = max(widths[i], ansi.StringWidth(text))
		}
	}
	total := 0
	for i, w := range widths {
		if w > 0 || len(cells) == 1 {
			widths[i] = max(w, ansi.StringWidth(t.Columns[i].Title))
			total += widths[i] + len(gap)
		}
	}
	for over := total - len(gap) - width; width > 0 && over > 0; over-- {
		widest := 0
		for i := range widths {
			if widths[i] > widths[widest] {
				widest = i
			}
		}
		if widths[widest] <= max(minColumn, ansi.StringWidth(t.Columns[widest].Title)) {
			break
		}
		widths[widest]--
	}
	return widths
}

const gap = "  "

func (t *Table) line(row []string, widths []int, width int) string {
	var b strings.Builder
	room := width
	for i, text := range row {
		if widths[i] == 0 || width > 0 && room <= 0 {
			continue
		}
		cells := widths[i]
		if width > 0 {
			cells = min(cells, room)
		}
		text = cut(text, cells)
		pad := strings.Repeat(" ", cells-ansi.StringWidth(text))
		if t.Columns[i].Right {
			b.WriteString(pad + isolate(text) + gap)
		} else {
			b.WriteString(isolate(text) + pad + gap)
		}
		room -= cells + len(gap)
	}
	return strings.TrimRight(b.String(), " ")
}
