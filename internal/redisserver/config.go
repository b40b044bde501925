package redisserver

import (
	"maps"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/fairlead-go/fairlead/internal/process"
)

// admin is the package's own user.
const admin = "redisserver"

// A Config is how a server is to be. Its zero value serves.
type Config struct {
	// Dir is where configuration, data and log go. Of several servers each has a
	// directory of its own inside it. Empty means a temporary directory, which
	// Close removes.
	Dir string

	// TLS, when set, opens a second client port, which speaks only TLS. Servers
	// then speak TLS among themselves as well.
	TLS *TLS

	// Users are rules on who may do what, each as after the word user in a file
	// of them: "fairlead on >secret ~{fairlead}:* &{fairlead}:* +ping". When
	// there are any, the default user, which is who does not log in, is off
	// unless one of them is about it. Sentinels let everybody in all the same.
	Users []string

	// Hosts are those that the servers run on, in their order, sentinels last.
	Hosts []process.Host

	// Settings are lines of redis.conf, by their first word; they win over what
	// else is here. Sentinels do not get them.
	Settings map[string]string
}

// TLS is what the secure port shows and demands. All are PEM files.
type TLS struct {
	// CA has the certificates that those of others are checked against: of
	// clients, and of servers that a server connects to.
	CA string

	// Cert and Key are the server's own. Where servers speak to one another, a
	// server shows the certificate as a client, too.
	Cert, Key string

	// RequireClient turns clients away that have no certificate of the CA.
	RequireClient bool
}

// lines returns what the server's redis.conf is to have. What its role adds
// wins over what all have in common, and the Settings win over both.
func (c *Config) lines(s *Server, role map[string]string) (map[string]string, error) {
	lines, err := c.listen(s.place)
	if err != nil {
		return nil, err
	}
	if s.role.sentinel {
		maps.Copy(lines, role)
		return lines, nil
	}
	maps.Copy(lines, map[string]string{
		"save":                 `""`,
		"appendonly":           "no",
		"maxmemory-policy":     "noeviction",
		"enable-debug-command": "local",
		"shutdown-timeout":     "0", // a frozen replica is not waited for
		// A server that becomes a replica is one without delay, and a dead link
		// is found dead soon.
		"repl-diskless-sync-delay": "0",
		"repl-ping-replica-period": "1",
		"repl-timeout":             "5",
		"masteruser":               admin,
		"masterauth":               s.password,
		"user " + admin:            "on >" + s.password + " ~* &* +@all",
	})
	if len(c.Users) > 0 {
		lines["user default"] = "off"
	}
	for _, rules := range c.Users {
		name, rest, _ := strings.Cut(strings.TrimSpace(rules), " ")
		lines["user "+name] = rest
	}
	maps.Copy(lines, role)
	maps.Copy(lines, c.Settings)
	return lines, nil
}

// listen returns the lines that say where to listen.
func (c *Config) listen(p *place) (map[string]string, error) {
	lines := map[string]string{
		"bind":           p.host.Addr,
		"port":           strconv.Itoa(p.client.Number),
		"protected-mode": "no",
		"daemonize":      "no",
	}
	if c.TLS == nil {
		return lines, nil
	}
	auth := "no"
	if c.TLS.RequireClient {
		auth = "yes"
	}
	lines["tls-port"] = strconv.Itoa(p.secure.Number)
	lines["tls-auth-clients"] = auth
	lines["tls-replication"] = "yes" // also of sentinels, to whomever they connect
	for key, file := range map[string]string{
		"tls-ca-cert-file": c.TLS.CA,
		"tls-cert-file":    c.TLS.Cert,
		"tls-key-file":     c.TLS.Key,
	} {
		path, err := filepath.Abs(file)
		if err != nil {
			return nil, err
		}
		lines[key] = quote(path)
	}
	return lines, nil
}

// quote returns the text as one word of redis.conf.
func quote(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}
