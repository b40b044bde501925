package view

import (
	"fmt"
	"time"
)

// Span returns a time span with the two units that matter.
func Span(d time.Duration) string {
	d = max(d, 0).Truncate(time.Second)
	s := int(d / time.Second)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", s)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", s/3600, s/60%60)
	}
	return fmt.Sprintf("%dd%02dh", s/86400, s/3600%24)
}

// Clock returns a time of day where the reader is, with the date if that is another.
func Clock(at, now time.Time) string {
	at, now = at.Local(), now.Local()
	if at.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return at.Format(time.TimeOnly)
	}
	return at.Format(time.DateTime)
}

// age returns for how long an entry that joined then has been in the queue; false
// when it is not known.
func age(since, now time.Time) (time.Duration, bool) {
	if since.IsZero() {
		return 0, false
	}
	return max(now.Sub(since), 0), true
}

// ageText is "" when the age is not known.
func ageText(since, now time.Time) string {
	d, ok := age(since, now)
	if !ok {
		return ""
	}
	return Span(d)
}
