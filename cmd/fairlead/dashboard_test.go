//go:build unix

package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v2"

	"github.com/fairlead-go/fairlead/cmd/fairlead/internal/export"
	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
)

// queries returns those of the dashboard and of the alerts, with the dashboard's variables
// filled in, by where they are from.
func queries(t *testing.T) map[string]string {
	t.Helper()
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ RefID, Expr string }
		}
	}
	var alerts struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	text, err := os.ReadFile("../../docs/grafana/fairlead.json")
	if err == nil {
		err = json.Unmarshal(text, &board)
	}
	if err != nil {
		t.Fatal(err)
	}
	if text, err = os.ReadFile("../../docs/grafana/alerts.yaml"); err == nil {
		err = yaml.Unmarshal(text, &alerts)
	}
	if err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("$job", "test", "$instance", ".*", "$kind", ".*", "$name", ".*", "$__rate_interval", "10s")
	all := map[string]string{}
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			all["panel "+p.Title+" "+target.RefID] = fill.Replace(target.Expr)
		}
	}
	for _, g := range alerts.Groups {
		for _, r := range g.Rules {
			all["alert "+r.Alert] = r.Expr
			if r.Alert == "FairleadRenewalsSlow" { // nothing here is slow: what it judges has to be there
				all["alert "+r.Alert] = limit.ReplaceAllString(r.Expr, "")
			}
		}
	}
	if len(all) < 15 {
		t.Fatalf("only %d queries were found", len(all))
	}
	return all
}

// limit is what an alert compares with.
var limit = regexp.MustCompile(` > [0-9.]+$`)

// number is a value in an answer of Prometheus.
var number = regexp.MustCompile(`"value":\[[0-9.]+,"-?[0-9]`)

// A real Prometheus scrapes programs that use every kind of primitive, wait, and lose a lease:
// each query of the dashboard finds something, and each alert but that on slowness fires.
func TestEveryQueryFindsData(t *testing.T) {
	srv, err := startServer(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	away, err := startServer(t.TempDir()) // will go
	if err != nil {
		t.Fatal(err)
	}
	var targets []string
	measured := func(args ...string) *program {
		addr := freeAddr(t)
		targets = append(targets, `"`+addr+`"`)
		p := start(t, append([]string{args[0], "--ttl", "2s", "--metric-names", "--metrics", addr}, args[1:]...)...)
		await(t, "http://"+addr+"/metrics", is(http.StatusOK))
		return p
	}
	at := srv.Endpoint()
	measured("lock", "held", "--store", at, "--", "sh", "-c", stay).expect("in")
	measured("lock", "held", "--store", at, "--", "sh", "-c", stay)
	measured("lock", "shared", "--shared", "--store", at, "--", "sh", "-c", stay).expect("in")
	measured("semaphore", "permits", "--limit", "2", "--store", at, "--", "sh", "-c", stay).expect("in")
	measured("elect", "leader", "--store", at, "--", "sh", "-c", stay).expect("in")
	// Its leader loses its lease, and gets no other.
	measured("elect", "broken", "--store", away.Endpoint(), "--", "sh", "-c", "echo in; exec sleep 600").expect("in")

	targets = append(targets, `"`+busy(t, at)+`"`)
	prometheus := startPrometheus(t, targets)
	found := func(status int, body string) bool {
		return status == http.StatusOK && number.MatchString(body) // NaN is none
	}
	ask := func(query string) string { return prometheus + "/api/v1/query?query=" + url.QueryEscape(query) }
	await(t, ask(`count(fairlead_held) >= 5`), found)
	await(t, ask(`fairlead_waiters > 0`), found)
	away.Close()
	await(t, ask(`fairlead_lost_total > 0`), found)
	for where, query := range queries(t) {
		t.Run(where, func(t *testing.T) { await(t, ask(query), found) })
	}
}

// busy has this process lock and unlock, and be refused what is held, until the test ends. It
// returns where its metrics are: a command that is refused ends before anybody can scrape it.
func busy(t *testing.T, at string) string {
	t.Helper()
	p, err := export.Start(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	s, err := session.Open(t.Context(), at, &session.Options{MeterProvider: p.Meters, MetricNames: true, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(p.Handler())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_, _ = mutex.New(s, "held").TryLock(ctx) // refused
			if g, err := mutex.New(s, "busy").Lock(ctx); err == nil {
				time.Sleep(20 * time.Millisecond)
				_ = g.Release(ctx)
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		srv.Close()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = s.Close(ctx)
	})
	return strings.TrimPrefix(srv.URL, "http://")
}

// startPrometheus runs one that scrapes the targets every second, and returns its URL.
func startPrometheus(t *testing.T, targets []string) string {
	t.Helper()
	dir, addr := t.TempDir(), freeAddr(t)
	rules, err := filepath.Abs("../../docs/grafana/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "prometheus.yml")
	text := "global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: ['" + rules + "']\n" +
		"scrape_configs: [{job_name: test, static_configs: [{targets: [" + strings.Join(targets, ", ") + "]}]}]\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	log := &strings.Builder{}
	cmd := exec.Command("prometheus", "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+addr)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatalf("start prometheus, which scripts/install-deps installs: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("prometheus says:\n%s", log)
		}
	})
	await(t, "http://"+addr+"/-/ready", is(http.StatusOK))
	return "http://" + addr
}
