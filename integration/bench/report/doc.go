// Package report keeps what a run of the benchmark measured, and shows it: as JSON, as
// a table in the terminal, and, with that of other runs, as docs/benchmarks.md with its
// plots.
//
// A [Report] has a [Result] for each workload and store, and that a [Subject] for each
// way to take a lock, ours first. A subject has samples, one a round. A ratio is taken
// within a round, where the machine was the same for both, and then the median of the
// rounds.
//
// What a figure is called and how it is shown is in metric.go, what it should be in
// target.go, and why it is not, where it is not, in reasons.md.
package report
