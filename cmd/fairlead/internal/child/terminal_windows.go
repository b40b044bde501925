package child

import "os"

// A terminal needs no care on Windows: a console is read by all its processes.
type terminal struct{}

func openTerminal() *terminal { return nil }

func (*terminal) close(*Process)              {}
func (*terminal) stopped(*Process, os.Signal) {}
func (*terminal) resumed(*Process)            {}
