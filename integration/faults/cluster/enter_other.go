//go:build !linux

package cluster

// Enter does nothing: there are no namespaces here.
func Enter() error { return nil }

// Entered tells whether Enter has succeeded.
func Entered() bool { return false }
