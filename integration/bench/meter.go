package main

import (
	"context"

	"github.com/fairlead-go/fairlead/integration/bench/report"
)

// A meter tells what the store did since it was made. Nothing else may use the store
// meanwhile.
type meter struct {
	server counting // nil: this one does not count
	before map[report.Metric]float64
}

func newMeter(ctx context.Context, srv server) (m meter, err error) {
	if c, ok := srv.(counting); ok {
		m.server = c
		m.before, err = c.counters(ctx)
	}
	return m, err
}

// charge adds to figures what each of so many operations cost.
func (m meter) charge(ctx context.Context, figures map[report.Metric]float64, operations int) error {
	if m.server == nil || operations == 0 {
		return nil
	}
	after, err := m.server.counters(ctx)
	if err != nil {
		return err
	}
	for metric, v := range after {
		figures[metric] = (v - m.before[metric]) / float64(operations)
	}
	return nil
}
