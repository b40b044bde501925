//go:build unix && !linux

package child

// remains reports whether anybody lives in a group that is there, which is not told here.
func (p *Process) remains() bool { return true }

func (p *Process) reap() {}

// adopts reports whether orphans become children of this process.
func adopts() bool { return false }
