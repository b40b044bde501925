//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// freeAddr returns an address of the loopback interface that nobody listens at.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// fetch returns the status and the body of a page; status 0 when nobody answers.
func fetch(t *testing.T, url string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

// await asks for the page until what it answers will do.
func await(t *testing.T, url string, will func(status int, body string) bool) string {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		status, body := fetch(t, url)
		if will(status, body) {
			return body
		}
		if time.Now().After(end) {
			t.Fatalf("%s answers still %d %s", url, status, body)
		}
	}
}

func is(want int) func(int, string) bool {
	return func(status int, _ string) bool { return status == want }
}

// A told is the answer of /leader.
type told struct {
	Name, Value, Identity string
	Token                 uint64
	Me                    bool
	Since                 time.Time
}

func awaitLeader(t *testing.T, addr, value string) (l told) {
	t.Helper()
	await(t, "http://"+addr+"/leader", func(status int, body string) bool {
		l = told{}
		return status == http.StatusOK && json.Unmarshal([]byte(body), &l) == nil && l.Value == value
	})
	return l
}

// The sidecars agree on who leads, and when the leader is killed the other one's
// shows the next, by itself.
func TestSidecarShowsTheNextLeader(t *testing.T) {
	one, two := freeAddr(t), freeAddr(t)
	first := start(t, "elect", "sidecar", "--ttl", "2s", "--value", "one", "--http", one)
	a := awaitLeader(t, one, "one")
	second := start(t, "elect", "sidecar", "--ttl", "2s", "--value", "two", "--http", two)
	b := awaitLeader(t, two, "one")
	if !a.Me || b.Me || a.Token == 0 || a.Token != b.Token || a.Identity == "" || a.Identity != b.Identity || a.Since.IsZero() || b.Since.IsZero() {
		t.Errorf("the leader says %+v, the other %+v", a, b)
	}
	await(t, "http://"+two+"/readyz", is(http.StatusOK))
	await(t, "http://"+two+"/healthz", is(http.StatusOK))
	if err := first.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if c := awaitLeader(t, two, "two"); !c.Me || c.Token <= a.Token {
		t.Errorf("after %+v, the next leader says %+v", a, c)
	}
	contains(t, await(t, "http://"+two+"/metrics", is(http.StatusOK)), `fairlead_held{`, `fairlead_kind="election"`)
	second.signal(syscall.SIGTERM)
	second.end(0)
}

// A command under a sidecar leads while "me" is true.
func TestSidecarBesideACommand(t *testing.T) {
	addr := freeAddr(t)
	p := start(t, "elect", "sidecar-command", "--value", "x", "--http", addr, "--", "sh", "-c", stay)
	p.expect("in")
	if l := awaitLeader(t, addr, "x"); !l.Me {
		t.Errorf("while its command runs, it says %+v", l)
	}
	p.leave()
}

// Without the store there is no health once the lease cannot be trusted any more, and
// nobody takes itself for the leader.
func TestSidecarWithoutItsStore(t *testing.T) {
	srv, err := startServer(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	addr := freeAddr(t)
	p := start(t, "elect", "sidecar-alone", "--store", srv.Endpoint(), "--ttl", "2s", "--value", "x", "--http", addr)
	awaitLeader(t, addr, "x")
	await(t, "http://"+addr+"/readyz", is(http.StatusOK))
	srv.Close()
	await(t, "http://"+addr+"/readyz", is(http.StatusServiceUnavailable))
	await(t, "http://"+addr+"/healthz", is(http.StatusServiceUnavailable))
	await(t, "http://"+addr+"/leader", func(_ int, body string) bool { return strings.Contains(body, `"me":false`) })
	contains(t, await(t, "http://"+addr+"/metrics", is(http.StatusOK)), "fairlead_lost_total{", `error_type="lost"`)
	p.signal(syscall.SIGTERM)
	_ = p.cmd.Wait()
}

func TestLockShowsMetrics(t *testing.T) {
	addr := freeAddr(t)
	p := start(t, "lock", "measured", "--metrics", addr, "--", "sh", "-c", stay)
	p.expect("in")
	text := await(t, "http://"+addr+"/metrics", is(http.StatusOK))
	contains(t, text, "fairlead_acquire_duration_seconds_bucket{", `fairlead_outcome="granted"`, `fairlead_mode="exclusive"`, `fairlead_backend="etcd"`)
	if strings.Contains(text, "measured") {
		t.Errorf("the name was not asked for:\n%s", text)
	}
	p.leave()
	p = start(t, "lock", "measured", "--metrics", addr, "--metric-names", "--", "sh", "-c", stay)
	p.expect("in")
	contains(t, await(t, "http://"+addr+"/metrics", is(http.StatusOK)), `fairlead_name="measured"`)
	p.leave()
}

// A span as the console exporter writes it.
type consoleSpan struct {
	Name                string
	SpanContext, Parent struct{ TraceID, SpanID string }
}

// The span that fairlead is started under is the parent of its spans, and the command
// finds the hold span in its environment.
func TestCommandContinuesTheTrace(t *testing.T) {
	const trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	p := start(t, "OTEL_TRACES_EXPORTER=console", "TRACEPARENT=00-"+trace+"-"+parent+"-01",
		"lock", "traced", "--", "sh", "-c", "echo $TRACEPARENT")
	inner := strings.Split(p.line(), "-")
	spans := map[string]consoleSpan{}
	for dec := json.NewDecoder(strings.NewReader(p.end(0))); dec.More(); {
		var s consoleSpan
		if err := dec.Decode(&s); err != nil {
			t.Fatal(err)
		}
		spans[s.Name] = s
	}
	for _, name := range []string{"acquire mutex", "hold mutex"} {
		if s := spans[name]; s.SpanContext.TraceID != trace || s.Parent.SpanID != parent {
			t.Errorf("%s is %+v", name, s)
		}
	}
	if len(inner) != 4 || inner[1] != trace || inner[2] != spans["hold mutex"].SpanContext.SpanID {
		t.Errorf("the command got %v, the spans are %+v", inner, spans)
	}
}

// A collector keeps what is posted to it.
type collector struct {
	mu   sync.Mutex
	took map[string][]byte
}

func (c *collector) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.took[r.URL.Path] = append(c.took[r.URL.Path], body...)
}

// got is what was posted so far, by path.
func (c *collector) got() map[string][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.took)
}

// Also what ends at once delivers its spans and metrics, and nothing is sent that was
// not asked for.
func TestTelemetryReachesACollector(t *testing.T) {
	c := &collector{took: map[string][]byte{}}
	srv := httptest.NewServer(c)
	defer srv.Close()
	endpoint, http := "OTEL_EXPORTER_OTLP_ENDPOINT="+srv.URL, "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"
	start(t, endpoint, http, "OTEL_SDK_DISABLED=true", "lock", "sent", "--", "true").end(0)
	if got := c.got(); len(got) != 0 {
		t.Errorf("it was disabled, and sent %q", got)
	}
	start(t, endpoint, http, "lock", "sent", "--", "true").end(0)
	got := c.got()
	for path, text := range map[string]string{"/v1/traces": "hold mutex", "/v1/metrics": "fairlead.hold.duration"} {
		if !bytes.Contains(got[path], []byte(text)) {
			t.Errorf("%s did not get %q, but %q", path, text, got[path])
		}
	}
}

// A collector that is away changes neither the output nor the exit status.
func TestAbsentCollectorIsNotMentioned(t *testing.T) {
	for _, protocol := range []string{"grpc", "http/protobuf"} {
		p := start(t, "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+freeAddr(t), "OTEL_EXPORTER_OTLP_PROTOCOL="+protocol,
			"lock", "away", "--", "sh", "-c", "exit 7")
		p.end(7)
		if p.stderr.Len() > 0 {
			t.Errorf("%s: it says\n%s", protocol, &p.stderr)
		}
	}
}
