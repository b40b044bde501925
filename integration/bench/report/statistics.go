package report

import (
	"fmt"
	"slices"
	"time"
)

// Levels are the quantiles of which a curve is made.
var Levels = [...]float64{
	0.01, 0.05, 0.10, 0.15, 0.20, 0.25, 0.30, 0.35, 0.40, 0.45, 0.50, 0.55, 0.60,
	0.65, 0.70, 0.75, 0.80, 0.85, 0.90, 0.93, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999,
}

// Quantile returns the q-quantile of ds, of which there must be one, in seconds. It
// sorts them.
func Quantile(ds []time.Duration, q float64) float64 {
	slices.Sort(ds)
	return ds[min(int(q*float64(len(ds))), len(ds)-1)].Seconds()
}

// Curve returns the quantiles of ds, of which there must be one. It sorts them.
func Curve(ds []time.Duration) (c [len(Levels)]float64) {
	for i, q := range Levels {
		c[i] = Quantile(ds, q)
	}
	return c
}

// median returns the median of v, of which there must be one.
func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}

// ratios divides round by round. What was measured once is compared with each round.
func ratios(a, b []float64) []float64 {
	if len(a) == 0 || len(b) == 0 {
		return nil
	}
	q := make([]float64, max(len(a), len(b)))
	for i := range q {
		q[i] = a[min(i, len(a)-1)] / b[min(i, len(b)-1)]
	}
	return q
}

// middle is the curve of the medians.
func middle(curves [][len(Levels)]float64) (c [len(Levels)]float64) {
	for i := range c {
		var at []float64
		for _, one := range curves {
			at = append(at, one[i])
		}
		c[i] = median(at)
	}
	return c
}

// spread shows the median and, unless there is but one figure, the range.
func spread(v []float64, show unit) string {
	switch len(v) {
	case 0:
		return ""
	case 1:
		return show(v[0])
	}
	return fmt.Sprintf("%s (%s..%s)", show(median(v)), show(slices.Min(v)), show(slices.Max(v)))
}
