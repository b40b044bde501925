package main

import (
	"bytes"
	"context"
	"regexp"
	"testing"
	"time"
)

// Whoever is out of service is back before the next one goes.
func TestOneServerAtATimeIsOutOfService(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	if err := run(ctx, "memory://"+t.Name(), &out); err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^server (\d) is (out of service|back with the new version)$`)
	found := line.FindAllStringSubmatch(out.String(), -1)
	if len(found) != 2*servers {
		t.Fatalf("it printed %d lines, want %d:\n%s", len(found), 2*servers, &out)
	}
	updated := map[string]bool{}
	for i := 0; i < len(found); i += 2 {
		away, back := found[i], found[i+1]
		if away[2] != "out of service" || back[2] == away[2] || away[1] != back[1] {
			t.Errorf("%q is followed by %q", away[0], back[0])
		}
		updated[away[1]] = true
	}
	if len(updated) != servers {
		t.Errorf("%d servers were updated, want %d", len(updated), servers)
	}
}
