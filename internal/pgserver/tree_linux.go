package pgserver

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Each child of a postmaster has a process group of its own, so that the group
// of the postmaster does not have them: they are found by their parent. While
// that one is stopped it begets no children, and those that end stay as zombies,
// so that their ids are nobody else's: every list is taken and used meanwhile.

const (
	stopTimeout = 10 * time.Second // for SIGSTOP to have reached every process
	killTimeout = 10 * time.Second // for SIGKILL to have ended every child
)

// killChildren stops the postmaster and kills its children. When it returns nil
// they are gone, but for their entries in the table of processes. If there is no
// postmaster it does nothing.
func killChildren(parent int) error {
	if parent == 0 {
		return nil
	}
	if err := syscall.Kill(parent, syscall.SIGSTOP); err != nil {
		return err
	}
	if err := await(stopTimeout, parent, stopped); err != nil {
		return err
	}
	pids, err := children(parent)
	if err != nil {
		return err
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			return err
		}
	}
	for _, pid := range pids {
		if err := await(killTimeout, pid, gone); err != nil {
			return err
		}
	}
	return nil
}

// stopChildren stops the children of a postmaster that is stopped. If we die
// before release is called, they will run on, to see that the postmaster is dead
// and to follow.
func stopChildren(parent int) (release func(), err error) {
	pids, err := children(parent)
	if err != nil {
		return nil, err
	}
	if release, err = watch(pids); err != nil {
		return nil, err
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			return release, err
		}
	}
	for _, pid := range pids {
		if err := await(stopTimeout, pid, stopped); err != nil {
			return release, err
		}
	}
	return release, nil
}

// contChildren lets the children of a stopped postmaster run on.
func contChildren(parent int) error {
	pids, err := children(parent)
	if err != nil {
		return err
	}
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGCONT) // it may have ended, if none was stopped
	}
	return nil
}

// watch starts a process that lets the others run on when our own is gone. It
// learns of that from a pipe, which no other process has open.
func watch(pids []int) (release func(), err error) {
	args := []string{"-c", `read -r _; [ $# = 0 ] || kill -CONT "$@"`, "watch"}
	for _, pid := range pids {
		args = append(args, strconv.Itoa(pid))
	}
	cmd := exec.Command("/bin/sh", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what interrupts us must not interrupt it
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() {
		_ = cmd.Process.Kill() // first: the end of the pipe would wake it
		_ = pipe.Close()
		_ = cmd.Wait() // it says that it was killed
	}, nil
}

// children returns the living children of a process.
func children(parent int) ([]int, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, file := range files {
		fields, err := stat(file)
		if err != nil {
			return nil, err
		}
		if len(fields) < 2 || fields[0] == "Z" || fields[1] != strconv.Itoa(parent) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// stat returns the fields of a stat file, from the state on; none if the
// process, or thread, has ended. The state follows the name, which is in
// parentheses and may have some.
func stat(file string) ([]string, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:])), nil
}

func stopped(state string) bool { return state == "T" || gone(state) }
func gone(state string) bool    { return state == "Z" || state == "X" }

// await waits until all threads of the process are in a state that will do:
// signals reach them one after the other, and until then they go on.
func await(timeout time.Duration, pid int, will func(state string) bool) error {
	for start := time.Now(); ; time.Sleep(time.Millisecond) {
		if done, err := all(pid, will); err != nil || done {
			return err
		}
		if time.Since(start) > timeout {
			states, _ := states(pid)
			return fmt.Errorf("process %d is in the states %v, %v after a signal", pid, states, timeout)
		}
	}
}

// all reports whether the states of all threads of the process will do. If there
// is no such process they do.
func all(pid int, will func(state string) bool) (bool, error) {
	states, err := states(pid)
	return !slices.ContainsFunc(states, func(state string) bool { return !will(state) }), err
}

// states returns the states of the threads of a process.
func states(pid int) ([]string, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		return nil, err
	}
	var states []string
	for _, file := range files {
		fields, err := stat(file)
		if err != nil {
			return nil, err
		}
		if len(fields) > 0 {
			states = append(states, fields[0])
		}
	}
	return states, nil
}
