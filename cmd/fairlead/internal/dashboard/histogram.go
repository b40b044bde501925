package dashboard

import "time"

// bounds are those below which a duration falls into a bar of a histogram.
var bounds = [...]time.Duration{
	100 * time.Millisecond, time.Second, 3 * time.Second, 10 * time.Second, 30 * time.Second,
	time.Minute, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour,
}

// labels say what each bar is.
var labels = [len(bounds) + 1]string{"<0.1s", "<1s", "<3s", "<10s", "<30s", "<1m", "<5m", "<30m", "<2h", "more"}

// A histogram counts durations.
type histogram struct {
	counts  [len(bounds) + 1]int64
	n       int64
	longest time.Duration
	sum     time.Duration
}

func (h *histogram) add(d time.Duration) {
	i := 0
	for i < len(bounds) && d >= bounds[i] {
		i++
	}
	h.counts[i]++
	h.n++
	h.sum += d
	h.longest = max(h.longest, d)
}

func (h *histogram) mean() time.Duration {
	if h.n == 0 {
		return 0
	}
	return h.sum / time.Duration(h.n)
}
