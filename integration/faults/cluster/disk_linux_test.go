package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestFullDiskTakesNothingUntilItIsFreed(t *testing.T) {
	apart(t)
	d, err := newDisk(t.TempDir(), 4<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	write := func() error { return os.WriteFile(filepath.Join(d.dir, "of the server"), []byte("x"), 0o600) }
	if err := write(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(d.dir, "of the server")); err != nil {
		t.Fatal(err)
	}
	if err := d.fill(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if err := write(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a full disk takes a byte: %v", err)
	}
	if err := os.Remove(d.filler()); err != nil {
		t.Fatal(err)
	}
	if err := write(); err != nil {
		t.Errorf("a disk that has space again: %v", err)
	}
}
