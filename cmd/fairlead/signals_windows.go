package main

import (
	"os"
	"syscall"
)

var (
	endSignals   = []os.Signal{os.Interrupt, syscall.SIGTERM}
	otherSignals = endSignals // there are no others
	jobSignals   []os.Signal
)

func isNoise(os.Signal) bool { return false }

// mayMeanOther reports whether programs take a signal that asks most to end for something else.
func mayMeanOther(os.Signal) bool { return false }
