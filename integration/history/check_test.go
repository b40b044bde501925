package history

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCorrectLockIsNeverAccused(t *testing.T) {
	for seed := range uint64(500) {
		for _, semaphore := range []bool{false, true} {
			if err := play(seed, "", semaphore, 60, 40).Check(&Options{Dir: t.TempDir()}); err != nil {
				t.Fatalf("seed %d, semaphore %t: %v", seed, semaphore, err)
			}
		}
	}
}

// TestPlantedBugsAreCaught says, with -v, how many histories show each bug.
func TestPlantedBugsAreCaught(t *testing.T) {
	const histories = 50
	for _, bug := range []struct {
		name      string
		semaphore bool
	}{
		{"token goes back", false},
		{"token goes back", true},
		{"writer ignores the queue", false},
		{"reader ignores writers", false},
		{"weights do not count", true},
		{"leader is the last in the queue", false},
		{"register accepts what is stale", false},
		{"successor before the holder hears", false},
		{"successor before the holder hears", true},
	} {
		t.Run(fmt.Sprintf("%s/%t", bug.name, bug.semaphore), func(t *testing.T) {
			caught := 0
			for seed := range uint64(histories) {
				err := play(seed, bug.name, bug.semaphore, 120, 80).Check(&Options{Dir: t.TempDir()})
				if e := (*Error)(nil); errors.As(err, &e) && !e.Undecided {
					caught++
				} else if err != nil {
					t.Error(err)
				}
			}
			t.Logf("%d of %d histories", caught, histories)
			if caught == 0 {
				t.Error("never caught")
			}
		})
	}
}

func TestErrorSaysWhere(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "when-needed")
	t.Setenv("FAIRLEAD_HISTORY_DIR", dir)
	rec := NewRecorder(nil)
	legal := rec.Lock("legal")
	legal.Begin(1, Lock()).Granted(1)
	h := rec.Lock("billing/nightly")
	h.Begin(1, Lock()).Granted(7)
	h.Begin(2, Lock()).Granted(8)
	err := rec.Check(nil)
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v", err)
	}
	if e.Name != "billing/nightly" || e.Undecided {
		t.Errorf("got name %q, undecided %t", e.Name, e.Undecided)
	}
	for _, part := range []string{
		`"billing/nightly" is not legal`, e.File,
		"client 1: lock -> granted token 7", "held with token 7", "client 2: lock -> granted token 8",
	} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is missing in: %v", part, err)
		}
	}
	page, err := os.ReadFile(e.File)
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Dir(e.File) != dir || !strings.Contains(string(page), "granted token 8") {
		t.Errorf("%s does not show the operations", e.File)
	}
}

func TestErrorWithoutDrawing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h := NewRecorder(nil).Lock("n")
	h.Begin(1, Lock()).Granted(7)
	h.Begin(2, Lock()).Granted(8)
	var e *Error
	if err := h.Check(&Options{Dir: file}); !errors.As(err, &e) || e.Err == nil || e.Text == "" {
		t.Errorf("got %v; want the text all the same, and why there is no drawing", err)
	}
}

func TestUndecidedIsAFailure(t *testing.T) {
	rec := NewRecorder(nil)
	h := rec.Semaphore("n", 100)
	for i := range 10 { // legal, but in more steps than there are
		h.Begin(i, Acquire(1)).Granted(uint64(i + 1))
	}
	err := rec.Check(&Options{Dir: t.TempDir(), Steps: 5})
	var e *Error
	if !errors.As(err, &e) || !e.Undecided {
		t.Errorf("got %v", err)
	}
	if err := rec.Check(&Options{Dir: t.TempDir(), Steps: 10}); err != nil {
		t.Errorf("with enough steps: %v", err)
	}
}

func TestEmptyHistoryIsLegal(t *testing.T) {
	rec := NewRecorder(nil)
	h := rec.Lock("n")
	h.Begin(1, Lock()).Failed()
	h.Begin(1, Lock())
	rec.Semaphore("unused", 1)
	if err := rec.Check(nil); err != nil {
		t.Error(err)
	}
}
