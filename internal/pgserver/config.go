package pgserver

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead-go/fairlead/internal/process"
)

// superuser is who administers every server.
const superuser = "postgres"

// A Config is how a server is to be. Its zero value serves.
type Config struct {
	// Dir is where data and log go. What is there is taken up, if a server of
	// this package has left it. Empty means a temporary directory, which Close
	// removes.
	Dir string

	// TLS, when set, has all users but the superuser use TLS.
	TLS *TLS

	// Settings are lines of postgresql.conf; they win over what else is here.
	Settings map[string]string

	// Through is a command line that runs the server's, such as env.
	Through []string

	// NoSync leaves out fsync: for tests, which do not survive a power cut
	// anyway, and never for measurements.
	NoSync bool
}

// TLS is what the server shows and demands. All are PEM files, of which the
// server has copies.
type TLS struct {
	Cert, Key string // the server's own

	// CA, when set, has the certificates that clients' ones are checked against;
	// who has none is turned away.
	CA string
}

// write puts postgresql.conf and pg_hba.conf, and whatever they refer to, into
// the data directory. extra are lines that only this server has.
func (c *Config) write(p *place, extra map[string]string) error {
	lines := c.lines()
	lines["port"] = strconv.Itoa(p.port.Number)
	maps.Copy(lines, extra)
	if c.TLS != nil {
		if err := c.TLS.write(p, lines); err != nil {
			return err
		}
	}
	maps.Copy(lines, c.Settings)

	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(lines)) {
		fmt.Fprintf(&text, "%s = %s\n", key, quote(lines[key]))
	}
	if err := p.write(filepath.Join(p.data(), "postgresql.conf"), text.String()); err != nil {
		return err
	}
	return p.write(filepath.Join(p.data(), "pg_hba.conf"), c.access())
}

// lines returns the part of postgresql.conf that depends on the Config alone.
func (c *Config) lines() map[string]string {
	lines := map[string]string{
		"listen_addresses":           process.Loopback,
		"unix_socket_directories":    "",
		"max_connections":            "200",
		"shared_buffers":             "16MB",
		"dynamic_shared_memory_type": "mmap",  // in the data directory, not to be left behind in /dev/shm
		"wal_keep_size":              "256MB", // for standbys that were away
		"lc_messages":                "C",
		"password_encryption":        "scram-sha-256",
		"log_line_prefix":            "%m [%p] %q%u@%d ",
	}
	if c.NoSync {
		lines["fsync"] = "off"
	}
	return lines
}

// access returns pg_hba.conf, in which the first line counts that fits.
func (c *Config) access() string {
	kind, cert := "host", ""
	if c.TLS != nil {
		kind = "hostssl"
		if c.TLS.CA != "" {
			cert = "clientcert=verify-ca"
		}
	}
	const net = process.Loopback + "/32 scram-sha-256"
	return fmt.Sprintf("host all %s %s\nhost replication %s %s\n%s all all %s %s\n",
		superuser, net, superuser, net, kind, net, cert)
}

// quote makes a value of postgresql.conf.
func quote(s string) string {
	return "'" + strings.NewReplacer(`'`, `''`, `\`, `\\`, "\n", `\n`).Replace(s) + "'"
}

// write copies the files and adds the lines of postgresql.conf.
func (t *TLS) write(p *place, lines map[string]string) error {
	lines["ssl"] = "on"
	for setting, file := range map[string]string{
		"ssl_cert_file": t.Cert,
		"ssl_key_file":  t.Key,
		"ssl_ca_file":   t.CA,
	} {
		if file == "" {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		lines[setting] = setting + ".pem"
		if err := p.write(filepath.Join(p.data(), lines[setting]), string(text)); err != nil {
			return err
		}
	}
	return nil
}
