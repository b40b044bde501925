package cluster

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// enteredVariable is set where this program runs in namespaces of its own.
const enteredVariable = "FAIRLEAD_FAULTS_ENTERED"

// Enter has this program begin anew, as the same process, in a network and with
// mounts of its own, if it may: then partitions and full disks are possible, and
// whatever becomes of the program, the system clears them away with its last
// process. Without the right to do so it changes nothing.
func Enter() error {
	if Entered() {
		return command("ip", "link", "set", "lo", "up")
	}
	if os.Geteuid() != 0 {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if unix.Unshare(unix.CLONE_NEWNS|unix.CLONE_NEWNET) != nil {
		return nil // root in a container that may not
	}
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts to ourselves: %w", err)
	}
	if err := os.Setenv(enteredVariable, "yes"); err != nil {
		return err
	}
	// What the thread that calls it has, the process has then.
	return fmt.Errorf("begin anew: %w", unix.Exec(self, os.Args, os.Environ()))
}

// Entered tells whether Enter has succeeded.
func Entered() bool { return os.Getenv(enteredVariable) != "" }
