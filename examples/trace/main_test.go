package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"testing/synctest"
)

// What the example prints is what the documentation shows; in virtual time, so that the
// milliseconds are the same each time.
func TestOutputIsThatOfTheDocumentation(t *testing.T) {
	doc, err := os.ReadFile("../../docs/telemetry.md")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		if err := run(t.Context(), &out); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(doc), "```text\n"+out.String()+"```\n") {
			t.Errorf("docs/telemetry.md does not show\n%s", &out)
		}
	})
}
