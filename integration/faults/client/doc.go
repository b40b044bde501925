// Package client is a process that uses every primitive of Fairlead on a few
// names, for as long as it is let, and writes down in a journal what it asks for
// and what it is told. It writes with its fencing token to a register, at times
// without looking whether it still holds.
//
// It knows nothing of faults: they come from outside.
package client
