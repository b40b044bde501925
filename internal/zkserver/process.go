package zkserver

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

const (
	stopTimeout = 10 * time.Second // for SIGSTOP to have reached every thread
	termTimeout = 3 * time.Second  // for SIGTERM, before SIGKILL follows
)

// jars are those that the manifest of none of them names. The secure port needs
// Netty's codecs.
var jars = []string{"zookeeper.jar", "slf4j-simple.jar", "netty-codec.jar"}

const jarDir = "/usr/share/java"

// A process is one life of a server.
type process struct {
	cmd   *exec.Cmd
	born  int64         // where in the log it begins
	ended chan struct{} // closed when the process has ended and was waited for
}

// command returns the command line of a server at the place.
func command(c *Config, p *place) (*exec.Cmd, error) {
	paths := make([]string, len(jars))
	for i, jar := range jars {
		paths[i] = filepath.Join(jarDir, jar)
		if _, err := os.Stat(paths[i]); err != nil {
			return nil, fmt.Errorf("find ZooKeeper (Debian's libzookeeper-java has it): %w", err)
		}
	}
	args := []string{
		"-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-XX:-UsePerfData", // it would leave files in /tmp when it is killed
		"-Djava.io.tmpdir=" + p.dir,
		"-Dznode.container.checkIntervalMs=2000",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
		"-Dorg.slf4j.simpleLogger.showDateTime=true",
		"-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
	}
	args = append(args, c.JVM...)
	args = append(args, "-cp", strings.Join(paths, string(filepath.ListSeparator)),
		"org.apache.zookeeper.server.quorum.QuorumPeerMain", p.config())
	cmd := exec.Command("java", args...)
	cmd.Dir = p.dir
	dieWithUs(cmd)
	return cmd, nil
}

// spawn starts the command, which logs to the end of the file.
func spawn(cmd *exec.Cmd, log string) (*process, error) {
	f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = f, f

	p := &process{cmd: cmd, born: info.Size(), ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel kills the process when its parent ends, and takes the
		// thread that started it for the parent: keep the thread.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			defer close(p.ended)
			_ = cmd.Wait() // how it ended is in cmd.ProcessState
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// kill ends the process as a crash would, and waits for the end.
func (p *process) kill() error {
	if err := p.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.ended
	return nil
}

// stop returns when no thread of the process runs any more.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(sigStop); err != nil {
		return err
	}
	return awaitStopped(p.cmd.Process.Pid)
}

func (p *process) cont() error { return p.cmd.Process.Signal(sigCont) }

// end ends the process in the best way that works, and waits for the end.
// Errors of signals mean that it has ended already.
func (p *process) end() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Process.Signal(sigCont) // it may be stopped, and would not notice
	select {
	case <-p.ended:
	case <-time.After(termTimeout):
		_ = p.cmd.Process.Signal(syscall.SIGKILL)
		<-p.ended
	}
}
