package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/storage/wal"

	"github.com/fairlead-go/fairlead/internal/process"
)

// memberVariable, when set, makes this program a member of an etcd cluster: its
// value is the member's etcdConfig in JSON.
const memberVariable = "FAIRLEAD_FAULTS_ETCD"

// What a member may take: the database, the disk, and a file of its log, of which there
// are some.
const (
	etcdQuota   = 32 << 20
	etcdDisk    = 256 << 20
	etcdSegment = 1 << 20
)

type etcdConfig struct {
	Name, Dir    string
	Client, Peer string // host:port
	Cluster      string // as etcd has it: name=URL,…
}

// ServeMember makes this process a member of a cluster, if it was started as one,
// and then does not return.
func ServeMember() {
	text, ok := os.LookupEnv(memberVariable)
	if !ok {
		return
	}
	err := serveMember(text)
	fmt.Fprintln(os.Stderr, "etcd:", err)
	os.Exit(1)
}

func serveMember(text string) error {
	var c etcdConfig
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir, cfg.InitialCluster = c.Name, c.Dir, c.Cluster
	cfg.ListenClientUrls = []url.URL{{Scheme: "http", Host: c.Client}}
	cfg.ListenPeerUrls = []url.URL{{Scheme: "http", Host: c.Peer}}
	cfg.AdvertiseClientUrls, cfg.AdvertisePeerUrls = cfg.ListenClientUrls, cfg.ListenPeerUrls
	cfg.UnsafeNoFsync = true // a killed process loses nothing that it has written
	cfg.LogLevel = "error"
	cfg.QuotaBackendBytes = etcdQuota
	cfg.AutoCompactionMode, cfg.AutoCompactionRetention = embed.CompactorModePeriodic, "30s" // the history would fill it
	wal.SegmentSizeBytes = etcdSegment
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return err
	}
	return <-e.Err()
}

// A member is an etcd server as its parent sees it.
type member struct {
	*process.Child
	disk         *disk
	host         process.Host
	config       etcdConfig
	client, peer process.Port
}

func newMember(dir string, number int, host process.Host) (_ *member, err error) {
	m := &member{host: host, config: etcdConfig{Name: fmt.Sprint("m", number)}}
	m.config.Dir = filepath.Join(dir, m.config.Name)
	m.Child = process.New("etcd", m.config.Dir, m.config.Dir+".log")
	defer func() {
		if err != nil {
			m.close()
		}
	}()
	if m.disk, err = newDisk(m.config.Dir, etcdDisk); err != nil {
		return nil, err
	}
	if m.client, err = process.Reserve(); err != nil {
		return nil, err
	}
	if m.peer, err = process.Reserve(); err != nil {
		return nil, err
	}
	m.client.Host, m.peer.Host = host.Addr, host.Addr
	m.config.Client, m.config.Peer = m.client.Addr(), m.peer.Addr()
	return m, nil
}

func initialCluster(members []*member) string {
	var all []string
	for _, m := range members {
		all = append(all, m.config.Name+"=http://"+m.config.Peer)
	}
	return strings.Join(all, ",")
}

func (m *member) start(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	text, err := json.Marshal(m.config)
	if err != nil {
		return err
	}
	cmd := m.host.Command(self)
	cmd.Env = append(os.Environ(), memberVariable+"="+string(text))
	return m.Start(ctx, cmd, m.healthy)
}

// healthy reports whether the member serves as part of a majority.
func (m *member) healthy(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.config.Client+"/health", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func (m *member) close() {
	m.End()
	m.disk.close()
	m.client.Free()
	m.peer.Free()
}
