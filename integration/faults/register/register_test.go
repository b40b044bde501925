package register

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOlderTokenIsRefusedForEachNameAlone(t *testing.T) {
	r, err := Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	pen, err := Dial(r.Addr(), "c1.1")
	if err != nil {
		t.Fatal(err)
	}
	steps := []Write{
		{Name: "a", Token: 5, Accepted: true},
		{Name: "a", Token: 5, Accepted: true},
		{Name: "a", Token: 4},
		{Name: "b", Token: 4, Accepted: true},
		{Name: "a", Token: 6, Accepted: true},
	}
	for _, w := range steps {
		if accepted, err := pen.Write(w.Name, w.Token); err != nil || accepted != w.Accepted {
			t.Errorf("write to %s with token %d: %v, %v; want %v", w.Name, w.Token, accepted, err, w.Accepted)
		}
	}
	var last int64
	writes := r.Writes()
	if len(writes) != len(steps) {
		t.Fatalf("%d writes were written down, of %d", len(writes), len(steps))
	}
	for i, w := range writes {
		if w.At < last {
			t.Errorf("write %d was before the one before it", i)
		}
		last = w.At
		w.At, w.Life = 0, ""
		if w != steps[i] {
			t.Errorf("write %d was written down as %+v, want %+v", i, w, steps[i])
		}
	}
	if err := pen.Close(); err != nil {
		t.Error(err)
	}
}
