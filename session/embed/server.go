package embed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	"go.etcd.io/etcd/server/v3/embed"
	"google.golang.org/grpc"
)

// A Config says what server is wanted.
type Config struct {
	// Dir is where the data lives; it is made if need be.
	Dir string

	// ListenClient is the host:port for clients. "": a free port on 127.0.0.1.
	ListenClient string

	// Logger gets the server's warnings and errors. nil: slog.Default().
	Logger *slog.Logger

	// UnsafeNoFsync spares the disk: what was acknowledged can be lost when the
	// machine fails, and with it the order of locks. For tests.
	UnsafeNoFsync bool

	// Adjust, when not nil, may change etcd's own configuration before the
	// server starts.
	Adjust func(*embed.Config)
}

// A Server is an etcd server in this process, a cluster of one.
type Server struct {
	etcd    *embed.Etcd
	lock    *fileutil.LockedFile
	close   sync.Once
	closing atomic.Bool

	mu  sync.Mutex
	rpc []*grpc.Server
}

// lockName is the file in the data directory that says it is in use.
const lockName = "fairlead.lock"

// Start starts a server and returns when it is ready. ctx bounds the start
// alone. A directory that is in use, by this process or another, is an error at
// once.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	s, err := start(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("start etcd in %s: %w", cfg.Dir, err)
	}
	return s, nil
}

func start(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Dir == "" {
		return nil, errors.New("no data directory is given")
	}
	s := &Server{}
	ec, err := s.configure(cfg)
	if err != nil {
		return nil, err
	}
	if s.lock, err = lockDir(cfg.Dir); err != nil {
		return nil, err
	}
	if s.etcd, err = embed.StartEtcd(ec); err != nil {
		return nil, errors.Join(err, s.lock.Close())
	}
	select {
	case <-s.etcd.Server.ReadyNotify():
		return s, nil
	case <-s.etcd.Server.StopNotify():
		err = errors.New("the server stopped before it was ready")
	case err = <-s.etcd.Err():
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.Close()
	return nil, err
}

func (s *Server) configure(cfg Config) (*embed.Config, error) {
	listen := cfg.ListenClient
	if listen == "" {
		listen = "127.0.0.1:0"
	}
	if _, _, err := net.SplitHostPort(listen); err != nil {
		return nil, fmt.Errorf("the address to listen on: %w", err)
	}
	logger := cfg.Logger
	if logger == nil {
		logger = slog.Default()
	}
	clients := url.URL{Scheme: "http", Host: listen}
	peers := url.URL{Scheme: "http", Host: "127.0.0.1:0"} // there are none, but etcd insists

	ec := embed.NewConfig()
	ec.Name, ec.Dir = "fairlead", cfg.Dir
	ec.ListenClientUrls, ec.AdvertiseClientUrls = []url.URL{clients}, []url.URL{clients}
	ec.ListenPeerUrls, ec.AdvertisePeerUrls = []url.URL{peers}, []url.URL{peers}
	ec.InitialCluster = ec.InitialClusterFromName(ec.Name)
	ec.EnableGRPCGateway = false
	ec.UnsafeNoFsync = cfg.UnsafeNoFsync
	ec.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zapLogger(logger, &s.closing))
	ec.ServiceRegister = func(g *grpc.Server) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.rpc = append(s.rpc, g)
	}
	// History is of no use to locks: keep an hour of it, not all.
	ec.AutoCompactionMode, ec.AutoCompactionRetention = embed.CompactorModePeriodic, "1h"
	if cfg.Adjust != nil {
		cfg.Adjust(ec)
	}
	return ec, nil
}

// lockDir takes hold of a data directory. etcd itself would wait, without a
// word, for as long as another server has the database open.
func lockDir(dir string) (*fileutil.LockedFile, error) {
	if err := os.MkdirAll(dir, fileutil.PrivateDirMode); err != nil {
		return nil, err
	}
	lock, err := fileutil.TryLockFile(filepath.Join(dir, lockName), os.O_WRONLY|os.O_CREATE, fileutil.PrivateFileMode)
	if errors.Is(err, fileutil.ErrLocked) {
		return nil, errors.New("the directory is in use: another server of Fairlead runs on it; " +
			"stop it, connect to it with etcd://, or use another directory")
	}
	if err != nil {
		return nil, err
	}
	if err := checkDatabase(filepath.Join(dir, "member", "snap", "db")); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// checkDatabase sees whether a plain etcd has the database open.
func checkDatabase(file string) error {
	if !fileutil.Exist(file) {
		return nil
	}
	db, err := bbolt.Open(file, fileutil.PrivateFileMode, &bbolt.Options{ReadOnly: true, Timeout: time.Millisecond})
	if errors.Is(err, bbolterrors.ErrTimeout) {
		return errors.New("the directory is in use: an etcd server runs on it; " +
			"stop it, connect to it with etcd://, or use another directory")
	}
	if err != nil {
		return fmt.Errorf("the database %s: %w", file, err)
	}
	return db.Close()
}

// Addr is the host:port that clients connect to.
func (s *Server) Addr() string { return s.etcd.Clients[0].Addr().String() }

// Endpoint is the URL of the server, for session.Open.
func (s *Server) Endpoint() string { return "etcd://" + s.Addr() }

// Etcd is the server itself.
func (s *Server) Etcd() *embed.Etcd { return s.etcd }

// Close stops the server and frees the directory. Connections are cut: etcd
// would wait seconds for watches to end, which do not end by themselves.
func (s *Server) Close() {
	s.close.Do(func() {
		s.closing.Store(true)
		s.mu.Lock()
		rpc := s.rpc
		s.mu.Unlock()
		for _, g := range rpc {
			g.Stop()
		}
		s.etcd.Close()
		_ = s.lock.Close() // it was only locked, never written
	})
}
