package embed_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	etcdembed "go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
	"github.com/fairlead-go/fairlead/session/embed"
	"github.com/fairlead-go/fairlead/watch"
)

// patience is how long tests wait for what has to happen.
const patience = 20 * time.Second

// holdDir is where a child process finds the directory to run a server in.
const holdDir = "FAIRLEAD_TEST_HOLD_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(holdDir); dir != "" {
		hold(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// hold runs a plain etcd, or a server of ours, until stdin is closed.
func hold(dir string) {
	var stop func()
	if plain, ok := strings.CutPrefix(dir, "plain:"); ok {
		cfg := etcdembed.NewConfig()
		cfg.Dir, cfg.LogLevel = plain, "fatal"
		free := cfg.ListenPeerUrls[0]
		free.Host = "127.0.0.1:0"
		cfg.ListenClientUrls[0], cfg.ListenPeerUrls[0] = free, free
		e, err := etcdembed.StartEtcd(cfg)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		<-e.Server.ReadyNotify()
		stop = e.Close
	} else {
		s, err := embed.Start(context.Background(), embed.Config{Dir: dir, UnsafeNoFsync: true})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		stop = s.Close
	}
	fmt.Println("ready")
	_, _ = os.Stdin.Read(make([]byte, 1))
	stop()
}

// held starts a process that runs a server on dir.
func held(t *testing.T, dir string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holdDir+"="+dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	said := make([]byte, 200)
	if n, err := out.Read(said); !strings.HasPrefix(string(said[:n]), "ready") {
		t.Fatalf("the other process said %q, %v", said[:n], err)
	}
}

var quiet = slog.New(slog.DiscardHandler)

func TestDirectoryInUseByAnotherProcessIsAnErrorAtOnce(t *testing.T) {
	for what, prefix := range map[string]string{"ours": "", "a plain etcd": "plain:"} {
		dir := t.TempDir()
		held(t, prefix+dir)
		begun := time.Now()
		_, err := session.Open(t.Context(), "embed://"+dir, &session.Options{Logger: quiet})
		if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "in use") {
			t.Errorf("%s: Open returned %v, want an error that says that %s is in use", what, err, dir)
		}
		if d := time.Since(begun); d > 5*time.Second {
			t.Errorf("%s: it took %v to say so", what, d)
		}
	}
}

func TestSessionsOnOneDirectoryShareAServer(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var mu sync.Mutex
	var sessions []*session.Session
	var work sync.WaitGroup
	for range 3 {
		work.Go(func() {
			s, err := session.Open(ctx, "embed://"+dir+"/", &session.Options{Logger: quiet})
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			sessions = append(sessions, s)
		})
	}
	work.Wait()
	if t.Failed() {
		t.FailNow()
	}
	lease, _, err := sessions[0].Store().Grant(ctx, driver.Spec{TTL: time.Minute, Identity: "first"})
	if err != nil {
		t.Fatal(err)
	}
	v, err := lease.Join(ctx, driver.Claim{Name: "q", ID: strings.Repeat("a", 32), Kind: "mutex", Mode: driver.Exclusive})
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range sessions {
		q, err := s.Store().Read(ctx, "q", 0)
		if err != nil || len(q.Entries) != 1 || q.Entries[0].Token != v.Me.Token {
			t.Errorf("session %d reads %v, %v", i, q.Entries, err)
		}
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
		if err := s.Close(ctx); err != nil { // counts once
			t.Error(err)
		}
	}
	// The last one has stopped the server: its directory can be had. And what it
	// held has survived, as the lease has not run out.
	again, err := session.Open(ctx, "embed://"+dir, &session.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	left, err := again.Store().Read(ctx, "q", 0)
	if err != nil || len(left.Entries) != 1 || left.Entries[0].Token != v.Me.Token {
		t.Errorf("after a restart the queue is %v, %v, want token %d", left.Entries, err, v.Me.Token)
	}
	if err := again.Close(ctx); err != nil {
		t.Error(err)
	}
}

// What etcd's store tells is told here as well.
func TestStoreHidesNothingOfEtcds(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s, err := session.Open(ctx, "embed://"+t.TempDir(), &session.Options{TTL: 10 * time.Second, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(ctx)
	g, err := mutex.New(s, "x").Lock(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Release(ctx)
	q, err := watch.Inspect(ctx, s, "x")
	if err != nil || len(q.Holders) != 1 || q.Holders[0].TTLLeft <= 0 || q.Holders[0].TTLLeft > 10*time.Second {
		t.Errorf("Inspect returned %+v, %v: how long the lease has left is not told", q, err)
	}
	if found := drivertest.Examine(t, s.Store()); found["members"].Verdict != driver.Fine {
		t.Errorf("the examination found %v", found)
	}
}

func TestURLErrorNamesThePartAtFault(t *testing.T) {
	dir := t.TempDir()
	for rawURL, want := range map[string]string{
		"embed://data":                      "three slashes",
		"embed://":                          "names no directory",
		"embed:///":                         "names no directory",
		"embed://" + dir + "?lissten=x":     `"lissten"`,
		"embed://" + dir + "?listen=x":      "listen",
		"embed://" + dir + "?ttl=x":         "ttl",
		"embed:///dev/null/data":            "/dev/null",
		"embed://user:secret@h" + dir:       "no host",
		"embed://" + dir + "?listen=:%zz":   "?",
		"embed://" + dir + "?listen=h:nix":  "nix",
		"embed://" + dir + "?ttl=":          `"ttl" is empty`,
		"embed://" + dir + "?ttl=1s&ttl=2s": "more than once",
		"embed://" + dir + "#1":             "#",
		"embed:///data/../..":               "root of the file system",
	} {
		begun := time.Now()
		s, err := session.Open(t.Context(), rawURL, &session.Options{Logger: quiet})
		if err == nil {
			_ = s.Close(t.Context())
			t.Errorf("%s: a session was opened", rawURL)
			continue
		}
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q in it", rawURL, err, want)
		}
		if d := time.Since(begun); d > 5*time.Second {
			t.Errorf("%s: it took %v", rawURL, d)
		}
	}
}

func TestServerListensWhereAsked(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if _, err := embed.Start(t.Context(), embed.Config{Dir: t.TempDir(), ListenClient: addr, Logger: quiet}); err == nil ||
		!strings.Contains(err.Error(), addr) {
		t.Errorf("Start on an address in use returned %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dir := t.TempDir()
	s, err := session.Open(ctx, "embed://"+dir+"?listen="+addr, &session.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	other, err := session.Open(ctx, "etcd://"+addr, &session.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := session.Open(ctx, "embed://"+dir+"?listen=127.0.0.1:1", &session.Options{Logger: quiet}); err == nil ||
		!strings.Contains(err.Error(), addr) {
		t.Errorf("Open with another address returned %v, want the present one named", err)
	}
	if err := errors.Join(other.Close(ctx), s.Close(ctx)); err != nil {
		t.Error(err)
	}
}

func TestCloseDoesNotWaitForWatches(t *testing.T) {
	s, err := embed.Start(t.Context(), embed.Config{Dir: t.TempDir(), Logger: quiet, UnsafeNoFsync: true})
	if err != nil {
		t.Fatal(err)
	}
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{s.Addr()}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if resp := <-c.Watch(t.Context(), "x", clientv3.WithCreatedNotify()); !resp.Created {
		t.Fatalf("the watch returned %+v", resp)
	}
	begun := time.Now()
	s.Close()
	s.Close()
	if d := time.Since(begun); d > 4*time.Second {
		t.Errorf("Close took %v", d)
	}
}

func TestWarningsReachTheLogger(t *testing.T) {
	var buf lockedBuffer
	s, err := embed.Start(t.Context(), embed.Config{
		Dir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(&buf, nil)), UnsafeNoFsync: true,
		Adjust: func(c *etcdembed.Config) { c.WarningUnaryRequestDuration = time.Nanosecond },
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{s.Addr()}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	s.Close()
	log := buf.String()
	if !strings.Contains(log, "level=WARN") || !strings.Contains(log, "etcd: ") || strings.Contains(log, "level=INFO") {
		t.Errorf("the log is %q, want warnings alone", log)
	}
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func TestStartIsQuiet(t *testing.T) {
	var buf lockedBuffer
	s, err := embed.Start(t.Context(), embed.Config{
		Dir: filepath.Join(t.TempDir(), "made", "on demand"), Logger: slog.New(slog.NewTextHandler(&buf, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if log := buf.String(); log != "" {
		t.Errorf("starting and stopping logs %q", log)
	}
}
