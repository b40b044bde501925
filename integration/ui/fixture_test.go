package ui

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	browserwindow "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	_ "github.com/fairlead-go/fairlead/session/etcd"
	"github.com/fairlead-go/fairlead/watch"
)

// patience bounds every wait that is expected to end much sooner.
const patience = time.Minute

var screenshots = flag.String("screenshots", "", "directory to write screenshots for the README into")

// What TestMain prepares for all tests.
var (
	binary  string          // the program, built once
	store   string          // URL of a server
	browser context.Context // a browser
)

func TestMain(m *testing.M) {
	flag.Parse()
	status, err := prepare(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

func prepare(m *testing.M) (status int, err error) {
	dir, err := os.MkdirTemp("", "fairlead-ui-")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary = filepath.Join(dir, "fairlead")
	build := exec.Command("go", "build", "-o", binary, "./cmd/fairlead")
	build.Dir = filepath.Join("..", "..") // with the versions that the main module has
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("build the program: %w\n%s", err, out)
	}
	url, stop, err := launch("dev", "--listen", "127.0.0.1:0", "--data-dir", filepath.Join(dir, "etcd"))
	if err != nil {
		return 0, err
	}
	defer stop()
	store = url
	// As root, and in containers, Chromium cannot make a sandbox; it sees no pages but ours.
	options := []chromedp.ExecAllocatorOption{chromedp.Headless, chromedp.NoSandbox, chromedp.NoFirstRun, chromedp.WSURLReadTimeout(patience),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.WindowSize(1280, 800), chromedp.UserDataDir(filepath.Join(dir, "chromium"))}
	allocator, stopAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	defer stopAllocator()
	first, closeBrowser := chromedp.NewContext(allocator)
	defer closeBrowser()
	if err := chromedp.Do(first); err != nil {
		return 0, fmt.Errorf("start chromium: %w", err)
	}
	browser = first
	return m.Run(), nil
}

// launch starts the program and returns the first line that it prints.
func launch(args ...string) (line string, stop func(), err error) {
	cmd := exec.Command(binary, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}
	line, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		stop()
		return "", nil, errors.Join(fmt.Errorf("%v printed only %q", cmd.Args, line), err)
	}
	return strings.TrimSpace(line), stop, nil
}

// dashboard starts one of the names with a prefix, and returns its address.
func dashboard(t *testing.T, prefix string, args ...string) string {
	t.Helper()
	address, stop, err := launch(append([]string{"ui", prefix, "--store", store, "--listen", "127.0.0.1:0", "--interval", "200ms"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return strings.TrimSuffix(address, "/")
}

func open(t *testing.T, identity string) *session.Session {
	t.Helper()
	s, err := session.Open(t.Context(), store, &session.Options{Identity: identity, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

func hold(t *testing.T, s *session.Session, name, note string) *session.Grant {
	t.Helper()
	g, err := mutex.NewWith(s, name, &watch.Options{Note: note}).Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// A tab is one of the browser, which keeps what went wrong in it.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	troubles []string // exceptions, violations of the policy, dialogs, requests elsewhere
}

func newTab(t *testing.T, home string) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	b := &tab{t: t}
	if err := chromedp.Do(ctx); err != nil { // without a timeout, which would end the tab
		t.Fatal(err)
	}
	var stop context.CancelFunc
	b.ctx, stop = context.WithTimeout(ctx, 2*patience)
	t.Cleanup(func() {
		stop()
		cancel()
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, trouble := range b.troubles {
			t.Errorf("in the browser: %s", trouble)
		}
	})
	b.run(chromedp.EmulateViewport(1280, 800)) // which makes the tab
	if err := chromedp.Listen(b.ctx, func(event any) { b.listen(home, event) }); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(b.ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(b.ctx, log.Enable, cdp.Empty{}); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *tab) listen(home string, event any) {
	trouble := ""
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		trouble = fmt.Sprintf("exception: %+v", *e.ExceptionDetails)
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			trouble = fmt.Sprintf("console: %s", e.Args[0].Value)
		}
	case *log.EventEntryAdded:
		// The policy's violations are of the source security. Those of the source network are
		// answers like 401, which tests provoke.
		if e.Entry.Level == log.EntryLevelError && e.Entry.Source != log.EntrySourceNetwork {
			trouble = fmt.Sprintf("log: %s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL)
		}
	case *network.EventRequestWillBeSent:
		if !strings.HasPrefix(e.Request.URL, home+"/") && !strings.HasPrefix(e.Request.URL, "data:") && e.Request.URL != "about:blank" {
			trouble = "it asked for " + e.Request.URL
		}
	}
	if trouble != "" {
		b.mu.Lock()
		b.troubles = append(b.troubles, trouble)
		b.mu.Unlock()
	}
}

func (b *tab) run(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// until waits for an expression of JavaScript to become true.
func (b *tab) until(expression string) {
	b.t.Helper()
	end := time.Now().Add(patience)
	for {
		// Between two pages there is nothing to ask: that is an error, and tried again.
		yes, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](expression))
		if err == nil && yes {
			return
		}
		if time.Now().After(end) || b.ctx.Err() != nil {
			text, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string]("location.href + '\\n' + document.body.innerText"))
			b.t.Fatalf("%s: %v; the page is\n%.3000s", expression, err, text)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func evaluate[T any](b *tab, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// visit opens a page and waits until it is live.
func (b *tab) visit(address string) {
	b.t.Helper()
	b.run(chromedp.Navigate(address))
	b.until("document.getElementById('live') === null || document.getElementById('live').textContent === 'live'")
}

// hide has nobody see the page, and show has it seen again.
func (b *tab) hide() { b.window(browserwindow.WindowStateMinimized, "document.hidden") }
func (b *tab) show() { b.window(browserwindow.WindowStateNormal, "!document.hidden") }

func (b *tab) window(state browserwindow.WindowState, until string) {
	b.t.Helper()
	w, err := chromedp.Call(b.ctx, browserwindow.GetWindowForTarget, browserwindow.GetWindowForTargetParams{})
	if err == nil {
		bounds := browserwindow.Bounds{WindowState: state}
		_, err = chromedp.Call(b.ctx, browserwindow.SetWindowBounds, browserwindow.SetWindowBoundsParams{WindowID: w.WindowID, Bounds: &bounds})
	}
	if err != nil {
		b.t.Fatal(err)
	}
	b.until(until)
}

func (b *tab) prefer(scheme string) {
	b.t.Helper()
	params := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, params); err != nil {
		b.t.Fatal(err)
	}
}

func namePage(home, name string) string { return home + "/name?" + url.Values{"name": {name}}.Encode() }
