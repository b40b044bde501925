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

// otherVariable names a directory with the jars of another release of ZooKeeper,
// zookeeper.jar and zookeeper-jute.jar. What those need comes from Debian's packages.
const otherVariable = "FAIRLEAD_ZOOKEEPER_JARS"

// command returns the command line of a server at the place.
func command(c *Config, p *place) (*exec.Cmd, error) {
	var paths []string
	if dir := os.Getenv(otherVariable); dir != "" {
		paths = append(paths, filepath.Join(dir, "zookeeper-jute.jar"), filepath.Join(dir, "zookeeper.jar"))
	}
	for _, jar := range jars {
		paths = append(paths, filepath.Join(jarDir, jar))
	}
	for _, path := range paths {
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("find ZooKeeper (Debian's libzookeeper-java has it, or %s says where another is): %w", otherVariable, err)
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
