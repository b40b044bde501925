package zkpeer

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

//go:embed Curator.java
var curatorSource []byte

// curatorPath has what the manifests of Debian's jars do not lead to: Curator
// itself, and a logger that writes to standard error.
const curatorPath = "/usr/share/java/curator-recipes.jar:/usr/share/java/slf4j-simple.jar"

// frugal are options for a Java that shares two CPUs with the tests.
var frugal = []string{"-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"}

// Classes are the compiled program that drives Curator.
type Classes struct{ dir string }

// Compile compiles the program into dir, which must exist as long as a Curator is
// started from it. It needs the command javac, and Debian's libcurator-recipes-java.
func Compile(ctx context.Context, dir string) (Classes, error) {
	source := filepath.Join(dir, "Curator.java")
	if err := os.WriteFile(source, curatorSource, 0o600); err != nil {
		return Classes{}, err
	}
	var args []string
	for _, option := range frugal {
		args = append(args, "-J"+option)
	}
	args = append(args, "-cp", curatorPath, "-d", dir, source)
	if out, err := exec.CommandContext(ctx, "javac", args...).CombinedOutput(); err != nil {
		return Classes{}, fmt.Errorf("compile the driver of curator: %w\n%s", err, out)
	}
	return Classes{dir: dir}, nil
}

// Curator is a Java process with one Curator client. As a Locker it takes
// Curator's InterProcessMutex.
type Curator struct{ *process }

// Start starts a Curator whose sessions have the timeout. servers is a connect
// string. The Curator may outlive ctx, which bounds the start alone.
func (c Classes) Start(ctx context.Context, servers string, session time.Duration) (*Curator, error) {
	args := append([]string(nil), frugal...)
	args = append(args, "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
		"-cp", strings.Join([]string{curatorPath, c.dir}, ":"),
		"Curator", servers, strconv.FormatInt(session.Milliseconds(), 10))
	p, err := start(ctx, exec.Command("java", args...))
	if err != nil {
		return nil, err
	}
	return &Curator{p}, nil
}

// Reader and Writer take the two halves of Curator's InterProcessReadWriteLock.
func (c *Curator) Reader() Locker { return kind{c.process, kindRead} }
func (c *Curator) Writer() Locker { return kind{c.process, kindWrite} }
