package report

import (
	"fmt"
	"strings"
)

// scaling is what the page says about the cost of locks on etcd.
type scaling struct {
	Costs   string   // a table: what an operation costs
	Waiters string   // a table: what a waiter costs
	Carries []string // what follows from both
}

// operations are the workloads whose costs are shown, and what one operation of
// each is.
var operations = []struct{ workload, one string }{
	{"uncontended", "lock and unlock, alone"},
	{"many-512", "lock and unlock, 512 goroutines with own names"},
	{"handoff-16", "hand-off among 16 contenders"},
	{"handoff-128", "hand-off among 128 contenders"},
	{"queue-1000", "hand-off with 1,000 waiters"},
	{"queue-10000", "hand-off with 10,000 waiters"},
	{"semaphore-64", "permit, 64 contenders for 8"},
	{"rwmutex-64", "lock for reading or writing, 64 contenders"},
	{"resigned", "leader resigns, the next is elected"},
	{"idle", "session that holds nothing, for one TTL"},
}

// scalingOf is nil where the costs on etcd were not counted.
func scalingOf(reports []*Report) *scaling {
	costs := [][]string{{"one", "by", "commits", "fsyncs", "requests", "stream messages", "events", "bytes in", "bytes out"}}
	waiters := [][]string{{"waiters", "by", "watchers at the server", "bytes at the client", "bytes at the server"}}
	for _, op := range operations {
		r, _ := result(reports, "etcd", op.workload)
		for _, s := range r.Subjects {
			if len(s.Samples[Commits]) > 0 {
				costs = append(costs, append([]string{op.one, s.Name}, cells(s, Commits, Syncs, Requests, Streamed, Events, BytesIn, BytesOut)...))
			}
			if len(s.Samples[WatchersEach]) > 0 {
				n := strings.TrimPrefix(op.workload, "queue-")
				waiters = append(waiters, append([]string{n, s.Name}, cells(s, WatchersEach, ClientEach, ServerEach)...))
			}
		}
	}
	if len(costs) == 1 {
		return nil
	}
	return &scaling{Costs: markdown(costs), Waiters: markdown(waiters), Carries: carries(reports)}
}

// cells shows medians.
func cells(s Subject, ms ...Metric) (row []string) {
	for _, m := range ms {
		cell := ""
		if v := s.Samples[m]; len(v) > 0 {
			cell = m.format(median(v))
		}
		row = append(row, cell)
	}
	return row
}

// carries derives what a cluster carries, of what was measured.
func carries(reports []*Report) (lines []string) {
	ours := func(workload string, m Metric) (float64, bool) {
		v := figure{"etcd", workload, "", m}.samples(reports)
		if len(v) == 0 {
			return 0, false
		}
		return median(v), true
	}
	if pairs, ok := ours("many-512", Pairs); ok {
		commits, _ := ours("many-512", Commits)
		lines = append(lines, fmt.Sprintf("%.0f pairs of lock and unlock a second on different names, from one process, in %.0f commits a second: "+
			"%s names that are locked once a minute each.", pairs, pairs*commits, grouped(60*pairs)))
	}
	if rate, ok := ours("handoff-16", Handoffs); ok {
		lines = append(lines, fmt.Sprintf("%.0f hand-offs a second of one name.", rate))
	}
	if each, ok := ours("idle", Requests); ok {
		streamed, _ := ours("idle", Streamed)
		lines = append(lines, fmt.Sprintf("A session sends %.1f messages a TTL: %s a second for 10,000 sessions with the default TTL of 15 s. "+
			"None of them is a commit.", each+streamed, grouped((each+streamed)*10000/15)))
	}
	for _, w := range []string{"queue-10000", "queue-1000"} {
		if each, ok := ours(w, ServerEach); ok && each > 0 {
			lines = append(lines, fmt.Sprintf("%s waiters in a gibibyte of the server's memory.", grouped(float64(1<<30)/each)))
			break
		}
	}
	return lines
}

// grouped shows two digits, and the rest as zeros, in groups of three.
func grouped(v float64) string {
	unit := 1.0
	for v/unit >= 100 {
		unit *= 10
	}
	text := fmt.Sprintf("%.0f", float64(int(v/unit))*unit)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
