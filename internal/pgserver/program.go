package pgserver

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
)

// installed is where Debian has the programs, one directory a version.
const installed = "/usr/lib/postgresql/*/bin"

// programs finds the directory with PostgreSQL's programs.
var programs = sync.OnceValues(func() (string, error) {
	found, err := filepath.Glob(filepath.Join(installed, "postgres"))
	if err != nil {
		return "", err
	}
	if len(found) > 0 {
		newest := slices.MaxFunc(found, func(a, b string) int { return cmp.Compare(version(a), version(b)) })
		return filepath.Dir(newest), nil
	}
	path, err := exec.LookPath("postgres")
	if err != nil {
		return "", fmt.Errorf("find PostgreSQL (Debian's postgresql has it) in %s: %w", installed, err)
	}
	return filepath.Dir(path), nil
})

// version is the number of the version that a program is of, 9 for 9.6.
func version(path string) int {
	name := filepath.Base(filepath.Dir(filepath.Dir(path)))
	number, _ := strconv.ParseFloat(name, 64) // what is no number is no version to prefer
	return int(number)
}

// program returns the command line of one of PostgreSQL's programs, run by another
// if there is one.
func program(p *place, through []string, name string, args ...string) (*exec.Cmd, error) {
	dir, err := programs()
	if err != nil {
		return nil, err
	}
	line := slices.Concat(through, []string{filepath.Join(dir, name)}, args)
	return command(p, line[0], line[1:]...), nil
}

// command returns a command line that will run in the place as its owner, with
// nothing of our environment that it could take for configuration.
func command(p *place, path string, args ...string) *exec.Cmd {
	cmd := exec.Command(path, args...)
	cmd.Dir = p.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "HOME=" + p.dir}
	dress(cmd, p.owner)
	return cmd
}

// run runs a command that ends by itself.
func run(cmd *exec.Cmd) error {
	// The kernel kills the process when the thread is gone that started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd.Path, err, out)
	}
	return nil
}
