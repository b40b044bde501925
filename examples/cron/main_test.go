package main

import (
	"bytes"
	"context"
	"regexp"
	"testing"
	"time"
)

// Five processes run the job once a period, and the others print nothing.
func TestOneMachineAPeriodRunsTheJob(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // building fairlead takes time
	defer cancel()
	var out bytes.Buffer
	if err := run(ctx, "", &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	want := regexp.MustCompile(`^period 1: machine \d runs the job
period 2: machine \d runs the job
period 3: machine \d runs the job
$`)
	if !want.Match(out.Bytes()) {
		t.Errorf("it printed\n%s", &out)
	}
}
