package cluster

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// mount mounts a file system in memory, with mounts that Enter has made this program's
// own.
func mount(dir string, size int64) error {
	return unix.Mount("faults", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0711", size))
}

func unmount(dir string) error { return unix.Unmount(dir, unix.MNT_DETACH) }
