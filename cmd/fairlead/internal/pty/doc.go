// Package pty opens pseudo-terminals, on Linux, for tests of what programs do at a
// terminal.
package pty
