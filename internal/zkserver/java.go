package zkserver

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// jars are those that the manifest of none of them names. The secure port needs
// Netty's codecs.
var jars = []string{"zookeeper.jar", "slf4j-simple.jar", "netty-codec.jar"}

const jarDir = "/usr/share/java"

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
	cmd := p.host.Command("java", args...)
	cmd.Dir = p.dir
	return cmd, nil
}
