//go:build !linux

package cluster

// steps tells that the clocks of servers can be stepped.
const steps = false
