package view

import (
	"cmp"
	"fmt"
	"strconv"
	"time"

	"github.com/fairlead-go/fairlead/election"
)

// LeaderTable returns a table of one leader.
func LeaderTable(l election.Leader) *Table {
	return &Table{
		Columns: []Column{{Title: "VALUE"}, {Title: "IDENTITY"}, {Title: "TOKEN", Right: true}},
		Rows:    [][]string{{cmp.Or(l.Value, unknown), cmp.Or(l.Identity, unknown), strconv.FormatUint(l.Token, 10)}},
	}
}

// LeaderLine says in a line who leads, as seen at that time.
func LeaderLine(l election.Leader, now time.Time) string {
	at := now.Local().Format(time.TimeOnly)
	if l.Token == 0 {
		return at + "  nobody leads"
	}
	return fmt.Sprintf("%s  %s, identity %s, token %d", at, Text(cmp.Or(l.Value, unknown)), Text(cmp.Or(l.Identity, unknown)), l.Token)
}
