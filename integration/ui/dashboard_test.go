package ui

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/fairlead-go/fairlead/election"
	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/semaphore"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/watch"
)

// shows is true when an element of the page has the text.
func shows(selector, text string) string {
	return fmt.Sprintf("[...document.querySelectorAll(%s)].some(e => e.textContent.includes(%s))", strconv.Quote(selector), strconv.Quote(text))
}

func TestPagesFollowWhatHappens(t *testing.T) {
	home, s := dashboard(t, "live/"), open(t, "host-a/1")
	list, name := newTab(t, home), newTab(t, home)
	list.visit(home + "/")
	name.visit(namePage(home, "live/b"))
	name.until(shows(".tally", "free"))
	hold(t, s, "live/c", "")
	list.until(shows("#rows .name", "live/c"))
	evaluate[string](list, "document.querySelector('#rows .row').dataset.kept = 'yes'")
	g := hold(t, s, "live/b", "first")
	list.until(shows("#rows .row:first-child", "live/b"))
	name.until(shows("td", "first"))
	name.until("document.querySelector('progress').value > 0")
	waiting := make(chan error, 1)
	go func() {
		second, err := mutex.NewWith(s, "live/b", &watch.Options{Note: "second"}).Lock(t.Context())
		if err == nil {
			err = second.Release(t.Context())
		}
		waiting <- err
	}()
	list.until(shows("#rows .row:first-child .waits", "1"))
	name.until(shows("td", "second"))
	if err := g.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-waiting; err != nil {
		t.Fatal(err)
	}
	list.until("document.querySelectorAll('#rows .row').length === 1")
	if !evaluate[bool](list, "[...document.getElementById('rows').children].every(e => e.matches('.row'))") {
		t.Error("rows that changed and went have left something else among the rows")
	}
	if !evaluate[bool](list, "document.querySelector('#rows .row').dataset.kept === 'yes'") {
		t.Error("a row that had not changed was sent again")
	}
	name.until(shows(".figures p", "seen, mean"))
	name.until("document.querySelectorAll('.chart canvas').length === 2")
	name.until(shows("section:last-of-type td", "first"))
}

// A browser opens six connections to a host. Pages that nobody can see have none, and are
// up to date when they are seen again.
func TestMorePagesThanConnectionsAreLiveWhenSeen(t *testing.T) {
	home, s := dashboard(t, "tabs/"), open(t, "host-a/1")
	tabs := make([]*tab, 7)
	for i := range tabs {
		tabs[i] = newTab(t, home)
		tabs[i].visit(home + "/")
		tabs[i].hide()
	}
	hold(t, s, "tabs/a", "")
	for _, b := range tabs[:5] {
		b.show()
		b.until(shows("#live", "live"))
		b.until(shows("#rows .name", "tabs/a"))
	}
	hold(t, s, "tabs/b", "")
	for _, b := range tabs[:5] {
		b.until(shows("#rows .name", "tabs/b"))
	}
}

func TestReleaseAsksForTheNameAndBreaksThatGrant(t *testing.T) {
	home, s := dashboard(t, "release/", "--allow-release"), open(t, "host-a/1")
	g := hold(t, s, "release/<it>", "hangs")
	b := newTab(t, home)
	b.visit(namePage(home, "release/<it>"))
	b.until(shows("a.danger", "release"))
	b.run(chromedp.Click("a.danger"), chromedp.WaitVisible("input[name=typed]"))
	b.run(chromedp.SendKeys("input[name=typed]", "release/it"), chromedp.Click("button.danger"))
	b.until(shows(".trouble", "is not the name"))
	if g.Context().Err() != nil {
		t.Fatalf("the wrong name broke it: %v", context.Cause(g.Context()))
	}
	b.run(chromedp.SendKeys("input[name=typed]", "release/<it>"), chromedp.SendKeys("input[name=reason]", "it hangs"), chromedp.Click("button.danger"))
	select {
	case <-g.Context().Done():
		if cause := context.Cause(g.Context()).Error(); !strings.Contains(cause, "it hangs") {
			t.Errorf("the holder was told %s", cause)
		}
	case <-time.After(patience):
		t.Fatal("the holder was never told")
	}
	if err := g.Release(t.Context()); err == nil {
		t.Error("what was broken could be released")
	}
	b.until(shows("h1", "Released"))
	b.run(chromedp.Click(".actions a"))
	b.until(shows(".tally", "free"))
}

func TestHostileNamesRunNoScript(t *testing.T) {
	home, s := dashboard(t, "hostile/", "--allow-release"), open(t, "<script>ran()</script>")
	names := []string{
		`hostile/<script>document.title='ran'</script>`, `hostile/"><img src=x onerror="document.title='ran'">`,
		`hostile/' hx-get='/store' hx-trigger='load`, "hostile/a b/c&d?e#f%2Fg", "hostile/שלום/日本語", "hostile/\u202egnp.exe",
		"hostile/" + strings.Repeat("é", (512-len("hostile/"))/2),
	}
	b := newTab(t, home)
	b.visit(home + "/")
	for _, name := range names {
		hold(t, s, name, `<img src=x onerror="document.title='ran'">`)
	}
	b.until(fmt.Sprintf("document.querySelectorAll('#rows .row').length === %d", len(names)))
	check := func() {
		t.Helper()
		if evaluate[bool](b, "document.title === 'ran' || document.querySelectorAll('main img, main script, main [hx-get]').length > 0") {
			t.Errorf("%s took a name for markup", evaluate[string](b, "location.href"))
		}
	}
	check()
	for _, name := range names {
		b.visit(namePage(home, name))
		b.until(shows("td.cut", "<img src=x"))
		shown := strings.ReplaceAll(name, "\u202e", `\u202e`)
		if got := evaluate[string](b, "document.querySelector('h1').textContent"); got != shown {
			t.Errorf("the name %q is shown as %q", name, got)
		}
		check()
		b.run(chromedp.Click("a.danger"), chromedp.WaitVisible("input[name=typed]"))
		check()
	}
}

func TestKeysAloneAreEnough(t *testing.T) {
	home, s := dashboard(t, "keys/", "--allow-release"), open(t, "host-a/1")
	hold(t, s, "keys/a", "")
	g := hold(t, s, "keys/b", "")
	hold(t, s, "keys/c", "")
	b := newTab(t, home)
	b.visit(home + "/")
	b.until("document.querySelectorAll('#rows .row').length === 3")
	focused := func(text string) {
		t.Helper()
		b.until("document.activeElement.textContent.includes(" + strconv.Quote(text) + ")")
	}
	b.run(chromedp.KeyEvent("j"), chromedp.KeyEvent("j"))
	focused("keys/b")
	if outline := evaluate[string](b, "getComputedStyle(document.activeElement.closest('.row')).boxShadow"); outline == "none" {
		t.Error("nothing shows which row has the focus")
	}
	// A row that changes under the cursor keeps it.
	waiting, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	work.Go(func() { _, _ = mutex.New(s, "keys/b").Lock(waiting) })
	defer work.Wait()
	defer cancel()
	b.until(shows("#rows .waits", "1"))
	focused("keys/b")
	b.run(chromedp.KeyEvent("/"), chromedp.KeyEvent("c"))
	b.until("[...document.querySelectorAll('#rows .row')].filter(r => !r.hidden).length === 1")
	b.run(chromedp.KeyEvent(kb.Escape))
	b.until("[...document.querySelectorAll('#rows .row')].filter(r => !r.hidden).length === 3")
	b.run(chromedp.KeyEvent("j"), chromedp.KeyEvent(kb.ArrowDown), chromedp.KeyEvent(kb.Enter))
	b.until("location.pathname === '/name'")
	b.until(shows("h1", "keys/b"))
	b.until(shows("a.danger", "release"))
	for range 12 {
		if evaluate[bool](b, "document.activeElement.matches('a.danger')") {
			break
		}
		b.run(chromedp.KeyEvent(kb.Tab))
	}
	b.run(chromedp.KeyEvent(kb.Enter))
	b.until("document.activeElement.name === 'typed'")
	b.run(chromedp.KeyEvent("keys/b"), chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(" "), chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Enter))
	b.until(shows("h1", "Released"))
	<-g.Context().Done()
}

func TestLoginLetsIn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("correct horse battery staple\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	home, s := dashboard(t, "login/", "--auth-token-file", file), open(t, "host-a/1")
	hold(t, s, "login/a", "")
	b := newTab(t, home)
	b.run(chromedp.Navigate(namePage(home, "login/a")), chromedp.WaitVisible("input[name=token]"))
	b.run(chromedp.SendKeys("input[name=token]", "wrong horse"+kb.Enter))
	b.until(shows(".trouble", "not the token"))
	b.run(chromedp.SendKeys("input[name=token]", "correct horse battery staple"+kb.Enter))
	b.until(shows("h1", "login/a"))
	b.until(shows("td", "host-a/1"))
	if cookie := evaluate[string](b, "document.cookie"); cookie != "" {
		t.Errorf("scripts see the cookie %q", cookie)
	}
}

// What a dashboard has signed it does not know again when it has been started anew. Its pages
// would show for ever what was held before.
func TestPageWhoseLoginIsOverLeadsToTheNextOne(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("correct horse battery staple\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	serve := func(listen string) (home string, stop func()) {
		home, stop, err := launch("ui", "again/", "--store", store, "--listen", listen, "--auth-token-file", file)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSuffix(home, "/"), stop
	}
	home, stop := serve("127.0.0.1:0")
	t.Cleanup(func() { stop() }) // the last one, when the tab is closed
	b := newTab(t, home)
	login := func() {
		t.Helper()
		b.until("location.pathname === '/login'")
		b.run(chromedp.SendKeys("input[name=token]", "correct horse battery staple"+kb.Enter))
		b.until(shows("h1", "again/a"))
		b.until(shows("#live", "live"))
	}
	b.run(chromedp.Navigate(namePage(home, "again/a")))
	login()
	stop()
	b.until("document.getElementById('live').matches('.off')")
	_, stop = serve(strings.TrimPrefix(home, "http://"))
	login()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.troubles = nil // htmx says on the console that it was cut off
}

func TestAThousandNamesAreShownAndOnlyChangesSent(t *testing.T) {
	home, s := dashboard(t, "many/"), open(t, "host-a/1")
	var grants [1000]*session.Grant
	var work sync.WaitGroup
	for w := range 20 {
		work.Go(func() {
			for i := w; i < len(grants); i += 20 {
				grants[i], _ = mutex.New(s, fmt.Sprintf("many/%04d", i)).Lock(t.Context())
			}
		})
	}
	work.Wait()
	b := newTab(t, home)
	b.visit(home + "/")
	b.until("document.querySelectorAll('#rows .row').length === 1000")
	evaluate[int](b, "for (const r of document.querySelectorAll('#rows .row')) r.dataset.kept = 'yes'; 0")
	for _, i := range []int{0, 500, 999} {
		if err := grants[i].Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	b.until("document.querySelectorAll('#rows .row').length === 997")
	hold(t, s, "many/0500x", "")
	b.until("document.querySelectorAll('#rows .row').length === 998")
	if n := evaluate[int](b, "document.querySelectorAll('#rows .row[data-kept=yes]').length"); n != 997 {
		t.Errorf("only %d rows of 997 that did not change are the same as before", n)
	}
	if at := evaluate[string](b, "document.querySelectorAll('#rows .row .name')[499].textContent"); at != "many/0500x" {
		t.Errorf("the new name stands where %s should", at)
	}
	// To the last row and back, with every frame drawn: it ends, if it is usable at all.
	evaluate[int](b, `window.frames_ = 0; (async () => {
		for (let y = 0; y <= document.body.scrollHeight; y += 600) { scrollTo(0, y); await new Promise(requestAnimationFrame); frames_++; }
		frames_ = -1;
	})(); 0`)
	b.until("frames_ === -1")
	b.run(chromedp.SendKeys("#filter", "0998"))
	b.until("[...document.querySelectorAll('#rows .row')].filter(r => !r.hidden).length === 1")
}

func TestDarkAndLightFollowTheSystem(t *testing.T) {
	home, s := dashboard(t, "scheme/"), open(t, "host-a/1")
	hold(t, s, "scheme/a", "")
	b := newTab(t, home)
	contrast := func() (back, text float64) {
		t.Helper()
		b.visit(namePage(home, "scheme/a"))
		b.until("document.querySelectorAll('.chart canvas').length === 2")
		lum := `(p) => { const c = document.createElement('canvas').getContext('2d'); c.fillStyle = getComputedStyle(document.body)[p]; c.fillRect(0, 0, 1, 1);
			const [r, g, b] = c.getImageData(0, 0, 1, 1).data; return (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255 }`
		return evaluate[float64](b, "("+lum+")('backgroundColor')"), evaluate[float64](b, "("+lum+")('color')")
	}
	b.prefer("light")
	if back, text := contrast(); back < 0.85 || text > 0.25 {
		t.Errorf("light: text %.2f on %.2f", text, back)
	}
	b.prefer("dark")
	if back, text := contrast(); back > 0.15 || text < 0.75 {
		t.Errorf("dark: text %.2f on %.2f", text, back)
	}
}

// scene fills a store with what a fleet does.
func scene(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	t.Cleanup(func() { cancel(); work.Wait() })
	hosts := make([]*session.Session, 6)
	for i := range hosts {
		hosts[i] = open(t, fmt.Sprintf("web-%d/%d", i+1, 4100+37*i))
	}
	lock := func(i int, name, note string) {
		work.Go(func() {
			_ = mutex.NewWith(hosts[i], name, &watch.Options{Note: note}).Do(ctx, func(c context.Context) error { <-c.Done(); return nil })
		})
	}
	for _, d := range []time.Duration{20, 350, 1300, 40, 600, 2100, 900} { // for the histograms
		g := hold(t, hosts[5], "deploy/production", "canary.sh")
		time.Sleep(d * time.Millisecond)
		if err := g.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 4 {
		lock(i, "deploy/production", "rollout.sh --version 2026.11."+strconv.Itoa(20+i))
		time.Sleep(300 * time.Millisecond) // in this order
	}
	for i, name := range []string{"billing/nightly", "cache/warm-up", "cron/backup", "cron/report", "migrations/orders", "migrations/users", "search/reindex"} {
		lock(i%6, name, strings.ReplaceAll(name, "/", "-")+".sh")
		if i%3 == 0 {
			lock((i+1)%6, name, "retry")
		}
	}
	for i, name := range []string{"billing/leader", "scheduler/leader", "search/leader"} {
		for j := range 3 {
			work.Go(func() {
				_ = election.New(hosts[(i+j)%6], name).Run(ctx, fmt.Sprintf("10.0.4.%d:8080", 10+(i+j)%6), func(c context.Context) error { <-c.Done(); return nil })
			})
		}
	}
	for i := range 5 {
		work.Go(func() {
			_ = semaphore.NewWith(hosts[i], "reports/render", 8, &watch.Options{Note: "render.py"}).Do(ctx, 3, func(c context.Context) error { <-c.Done(); return nil })
		})
	}
}

func TestScreenshots(t *testing.T) {
	if *screenshots == "" {
		t.Skip("only with -screenshots DIR")
	}
	home := dashboard(t, "", "--allow-release", "--trace-url", "https://tempo.example/trace/{trace_id}")
	b := newTab(t, home)
	watching := newTab(t, home)
	watching.visit(namePage(home, "deploy/production"))
	scene(t)
	shoot := func(file, scheme, address, ready string) {
		t.Helper()
		b.prefer(scheme)
		b.visit(address)
		b.until(ready)
		time.Sleep(2 * time.Second) // for the pictures' sake
		png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(*screenshots, file), png, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	shoot("dashboard-names.png", "light", home+"/", "document.querySelectorAll('#rows .row').length >= 12")
	shoot("dashboard-name.png", "dark", namePage(home, "deploy/production"), "document.querySelectorAll('progress').length === 1")
}
