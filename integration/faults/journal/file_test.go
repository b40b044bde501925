package journal

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func TestJournalOfAKilledProcessEndsWithTheLastWholeLine(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal")
	if err := os.WriteFile(path, []byte("{\"at\":1,\"kind\":\"leased\"}\n"), 0o600); err != nil { // of an earlier run
		t.Fatal(err)
	}
	w, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	want := []Event{
		{At: 1, Kind: Asked, ID: w.NewID(), Op: Lock, Name: "q"},
		{At: 2, Kind: Granted, ID: 1, Name: "q", Token: 1 << 63},
	}
	for _, e := range want {
		w.Note(e)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"at":3,"kind":"rel`); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := Read(path)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Read = %+v, %v; want %+v", got, err, want)
	}
}

func TestGarbledJournalIsNotRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal")
	if err := os.WriteFile(path, []byte("{\"at\":1}\nnonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if events, err := Read(path); err == nil {
		t.Errorf("Read = %+v", events)
	}
}

func TestTimeGoesOn(t *testing.T) {
	t.Parallel()
	if a, b := Now(), Now(); a <= 0 || b < a {
		t.Errorf("%d, and then %d", a, b)
	}
}
