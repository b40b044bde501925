package demo

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// In whatever pieces a journal comes to be written, what is read of it is the same: each
// whole line once, up to the first that is none of ours, of which the error says where
// it is.
func FuzzJournal(f *testing.F) {
	f.Add("{\"at\":1,\"kind\":\"asked\",\"name\":\"q\"}\n{\"at\":2,\"kind\":\"granted\",\"token\":18446744073709551615}\n{\"at\":3", 9, 40)
	f.Add("{\"at\":1}\nnonsense\n{\"at\":2}\n", 3, 12)
	f.Add("\n", 0, 0)
	f.Add("{\"at\":\"1\"}\n", 0, 1)
	path := filepath.Join(f.TempDir(), "journal")
	f.Fuzz(func(t *testing.T, text string, cut, again int) {
		whole, wholeErr := inPieces(t, path, text)
		cut = min(max(cut, 0), len(text))
		again = min(max(again, cut), len(text))
		pieces, err := inPieces(t, path, text[:cut], text[cut:again], text[again:])
		if fmt.Sprint(whole, wholeErr) != fmt.Sprint(pieces, err) {
			t.Errorf("%q is read as %v, %v; cut at %d and %d as %v, %v", text, whole, wholeErr, cut, again, pieces, err)
		}
		if wholeErr != nil && !strings.Contains(wholeErr.Error(), path) || wholeErr == nil && len(whole) != strings.Count(text, "\n") {
			t.Errorf("%q is read as %v, %v", text, whole, wholeErr)
		}
		for _, e := range whole {
			line, err := json.Marshal(e)
			if same, readErr := inPieces(t, path, string(line)+"\n"); err != nil || readErr != nil || len(same) != 1 || same[0] != e {
				t.Errorf("%+v comes back as %+v, %v, %v", e, same, err, readErr)
			}
		}
	})
}

// inPieces reads a journal each time when a further piece has been written.
func inPieces(t *testing.T, path string, pieces ...string) (all []Event, err error) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := openReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, piece := range pieces {
		if _, err := f.WriteString(piece); err != nil {
			t.Fatal(err)
		}
		events, err := r.next()
		if all = append(all, events...); err != nil {
			return all, err
		}
	}
	return all, nil
}
