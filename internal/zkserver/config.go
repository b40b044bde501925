package zkserver

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead-go/fairlead/internal/process"
)

const (
	defaultTick       = 500 * time.Millisecond
	defaultMinTimeout = time.Second
	defaultMaxTimeout = 40 * time.Second
)

// A Config is how a server is to be. Its zero value serves.
type Config struct {
	// Dir is where data and log go. What is there is taken up. Empty means a
	// temporary directory, which Close removes.
	Dir string

	// TickTime is also the precision with which sessions expire; zero means
	// 500 ms. What a session asks for is put between the two bounds; zero means
	// 1 s and 40 s.
	TickTime          time.Duration
	MinSessionTimeout time.Duration
	MaxSessionTimeout time.Duration

	// TLS, when set, opens a second client port, which speaks only TLS.
	TLS *TLS

	// Commands are four-letter words to answer beside srvr, such as cons and
	// wchp; "*" means all.
	Commands []string

	// NoSync leaves out fsync: for tests, which do not survive a power cut
	// anyway, and never for measurements.
	NoSync bool

	// Hosts are those that the servers run on, in the order of their ids.
	Hosts []process.Host

	// Settings are lines of zoo.cfg; they win over what else is here.
	Settings map[string]string

	// JVM are options for java, such as -Djute.maxbuffer=4096 or -Xmx512m; they
	// win over those that every server gets, which save memory and start soon
	// rather than run fast.
	JVM []string
}

// TLS is what the secure port shows and demands. All are PEM files.
type TLS struct {
	Cert, Key string // the server's own; the key of any kind that Go can read

	// Authority has the certificates that clients' ones are checked against.
	Authority string

	// ClientAuth turns clients away that have no certificate of the Authority.
	ClientAuth bool
}

// write puts zoo.cfg, and whatever it refers to, into the place's directory.
// all are the places of the ensemble, nil for a standalone server.
func (c *Config) write(p *place, all []*place) error {
	data := filepath.Join(p.dir, "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return err
	}
	lines := c.lines()
	lines["dataDir"] = data
	if all == nil {
		lines["clientPort"] = strconv.Itoa(p.client.Number)
		lines["clientPortAddress"] = p.host.Addr
	} else {
		lines["initLimit"] = "10"
		lines["syncLimit"] = "4"
		for _, q := range all {
			lines["server."+strconv.Itoa(q.id)] = fmt.Sprintf("%s:%d:%d;%s", q.host.Addr, q.quorum.Number, q.elect.Number, q.client.Addr())
		}
		if err := os.WriteFile(filepath.Join(data, "myid"), []byte(strconv.Itoa(p.id)), 0o600); err != nil {
			return err
		}
	}
	if c.TLS != nil {
		if err := c.TLS.write(p, lines); err != nil {
			return err
		}
	}
	maps.Copy(lines, c.Settings)

	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(lines)) {
		fmt.Fprintf(&text, "%s=%s\n", key, lines[key])
	}
	return os.WriteFile(p.config(), []byte(text.String()), 0o600)
}

// lines returns the part of zoo.cfg that depends on the Config alone.
func (c *Config) lines() map[string]string {
	lines := map[string]string{
		"tickTime":                  millis(c.TickTime, defaultTick),
		"minSessionTimeout":         millis(c.MinSessionTimeout, defaultMinTimeout),
		"maxSessionTimeout":         millis(c.MaxSessionTimeout, defaultMaxTimeout),
		"maxClientCnxns":            "0",
		"extendedTypesEnabled":      "true",
		"admin.enableServer":        "false",
		"4lw.commands.whitelist":    strings.Join(append([]string{"srvr"}, c.Commands...), ","),
		"electionPortBindRetry":     "1", // a port that is taken stays so: fail at once
		"standaloneEnabled":         "true",
		"quorumListenOnAllIPs":      "false",
		"metricsProvider.className": "org.apache.zookeeper.metrics.impl.NullMetricsProvider",
	}
	if c.NoSync {
		lines["forceSync"] = "no"
	}
	return lines
}

func millis(d, otherwise time.Duration) string {
	if d == 0 {
		d = otherwise
	}
	return strconv.FormatInt(d.Milliseconds(), 10)
}

// write puts the certificate and its key in one file, as the server wants them,
// and adds the lines of zoo.cfg.
func (t *TLS) write(p *place, lines map[string]string) error {
	pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return fmt.Errorf("read the server's certificate: %w", err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		return fmt.Errorf("convert %s: %w", t.Key, err)
	}
	store := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
	for _, der := range pair.Certificate {
		store = append(store, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	file := filepath.Join(p.dir, "server.pem")
	if err := os.WriteFile(file, store, 0o600); err != nil {
		return err
	}
	authority, err := filepath.Abs(t.Authority)
	if err != nil {
		return err
	}
	auth := "none"
	if t.ClientAuth {
		auth = "need"
	}
	maps.Copy(lines, map[string]string{
		"secureClientPort":        strconv.Itoa(p.secure.Number),
		"secureClientPortAddress": p.host.Addr,
		"serverCnxnFactory":       "org.apache.zookeeper.server.NettyServerCnxnFactory",
		"ssl.keyStore.location":   file,
		"ssl.keyStore.type":       "PEM",
		"ssl.trustStore.location": authority,
		"ssl.trustStore.type":     "PEM",
		"ssl.clientAuth":          auth,
	})
	return nil
}
