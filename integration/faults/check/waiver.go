package check

import (
	"strings"
	"time"
)

// starved tells whether a call failed because the store had no space left, and said so.
// Right after that it may still say it: what one member knows the next is yet to learn.
func (c *Case) starved(t *Try) bool {
	if !strings.Contains(t.Error, "space") {
		return false
	}
	for i := range c.Strikes {
		if s := &c.Strikes[i]; s.Full && s.From < t.Returned && t.Called < s.To+int64(time.Second) {
			return true
		}
	}
	return false
}
