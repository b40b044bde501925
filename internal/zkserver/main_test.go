package zkserver

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// orphanDir is set for a copy of the test binary that is to start a server in
// this directory, tell its address, and wait until it is killed.
const orphanDir = "ZKSERVER_ORPHAN_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(orphanDir); dir != "" {
		s, err := Start(Config{Dir: dir, NoSync: true})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(s.Addr())
		select {}
	}
	goleak.VerifyTestMain(m)
}
