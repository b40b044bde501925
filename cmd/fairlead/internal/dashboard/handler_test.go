package dashboard

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/memory"
	"github.com/fairlead-go/fairlead/watch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	secret   = "a token that is long enough"
	patience = 30 * time.Second
)

// A site is a dashboard and a session whose names it shows.
type site struct {
	t      *testing.T
	s      *session.Session
	server *httptest.Server
	client *http.Client
	log    *logged

	handler  *Handler
	onlooker *session.Session // the dashboard's
}

// logged is what was logged.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newSite(t *testing.T, opts Options) *site {
	t.Helper()
	return newSiteOf(t, "", opts)
}

// newSiteOf is newSite for names with the prefix.
func newSiteOf(t *testing.T, prefix string, opts Options) *site {
	t.Helper()
	st := memory.NewStore()
	holder, err := st.Session(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	onlooker, err := st.Session(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	log := &logged{}
	opts.Logger = slog.New(slog.NewTextHandler(log, nil))
	board := NewBoard(onlooker, prefix, 20*time.Millisecond)
	h, err := New(board, &opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() { board.Run(ctx) })
	server := httptest.NewServer(h)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		cancel()
		work.Wait()
		for _, s := range []*session.Session{holder, onlooker} {
			if err := s.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}
	})
	client := server.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &site{t, holder, server, client, log, h, onlooker}
}

// ask sends a request, which edit may change, and returns the answer and its body.
func (s *site) ask(method, path string, form url.Values, edit func(*http.Request)) (*http.Response, string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, s.server.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if edit != nil {
		edit(r)
	}
	resp, err := s.client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp, string(body)
}

// shows asks for a page until it contains the text.
func (s *site) shows(path, text string) string {
	s.t.Helper()
	for until := time.Now().Add(patience); ; {
		_, body := s.ask("GET", path, nil, nil)
		if strings.Contains(body, text) {
			return body
		}
		if time.Now().After(until) {
			s.t.Fatalf("%s never shows %q:\n%s", path, text, body)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (s *site) hold(name, note string) *session.Grant {
	s.t.Helper()
	g, err := mutex.NewWith(s.s, name, &watch.Options{Note: note}).Lock(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return g
}

func pageOf(name string) string { return "/name?" + url.Values{"name": {name}}.Encode() }

func TestWithoutTheTokenNothingIsShown(t *testing.T) {
	s := newSite(t, Options{Token: []byte(secret), AllowRelease: true})
	s.hold("hush/hush", "")
	bearer := func(token string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
	}
	paths := []string{"/", "/elections", "/store", pageOf("hush/hush"), "/events/list", "/events/name?name=hush/hush", "/events/store", "/release?name=hush/hush&token=1", "/nowhere"}
	for _, path := range paths {
		for what, edit := range map[string]func(*http.Request){
			"nothing": nil, "another token": bearer(secret + "x"), "an empty one": bearer(""),
			"a made-up cookie": func(r *http.Request) {
				r.AddCookie(&http.Cookie{Name: cookieName(r), Value: "x.29991231T000000Z.AAAA"})
			},
			"a browser": func(r *http.Request) { r.Header.Set("Accept", "text/html") },
		} {
			resp, body := s.ask("GET", path, nil, edit)
			if resp.StatusCode != http.StatusUnauthorized && resp.Header.Get("Location") == "" || strings.Contains(body, "hush/hush<") {
				t.Errorf("GET %s with %s: %s\n%s", path, what, resp.Status, body)
			}
		}
	}
	if resp, _ := s.ask("POST", "/release", url.Values{}, nil); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("POST /release: %s", resp.Status)
	}
	for until := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		resp, body := s.ask("GET", "/", nil, bearer(secret))
		if resp.StatusCode == http.StatusOK && strings.Contains(body, "hush/hush") {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("with the token: %s\n%s", resp.Status, body)
		}
	}
}

func TestLoginGivesACookieThatOpensThePages(t *testing.T) {
	s := newSite(t, Options{Token: []byte(secret)})
	resp, _ := s.ask("POST", "/login", url.Values{"token": {"wrong"}}, nil)
	if resp.StatusCode != http.StatusUnauthorized || len(resp.Cookies()) > 0 {
		t.Errorf("a wrong token: %s, %v", resp.Status, resp.Cookies())
	}
	resp, _ = s.ask("POST", "/login", url.Values{"token": {secret}, "next": {"/store"}}, nil)
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/store" || len(resp.Cookies()) != 1 {
		t.Fatalf("the token: %s to %q, %v", resp.Status, resp.Header.Get("Location"), resp.Cookies())
	}
	c := resp.Cookies()[0]
	if !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" || strings.Contains(c.Value, secret) {
		t.Errorf("the cookie is %v", c)
	}
	with := func(value string) func(*http.Request) {
		return func(r *http.Request) { r.AddCookie(&http.Cookie{Name: cookieName(r), Value: value}) }
	}
	if resp, _ := s.ask("GET", "/store", nil, with(c.Value)); resp.StatusCode != http.StatusOK {
		t.Errorf("with the cookie: %s", resp.Status)
	}
	longer := regexp.MustCompile(`\.20\d\d`).ReplaceAllString(c.Value, ".2999")
	for _, value := range []string{longer, c.Value + "A", strings.ToLower(c.Value), "", "..", longer[:5]} {
		if resp, _ := s.ask("GET", "/store", nil, with(value)); resp.StatusCode == http.StatusOK {
			t.Errorf("the cookie %q opens it", value)
		}
	}
	if strings.Contains(s.log.String(), secret) {
		t.Errorf("the log has the token:\n%s", s.log)
	}
}

// Browsers send the cookies of a host to all of its ports.
func TestDashboardsOfOneHostKeepTheirLogins(t *testing.T) {
	sites := []*site{newSite(t, Options{Token: []byte(secret)}), newSite(t, Options{Token: []byte(secret)})}
	jar := map[string]string{} // by name, of 127.0.0.1
	browse := func(r *http.Request) {
		for name, value := range jar {
			r.AddCookie(&http.Cookie{Name: name, Value: value})
		}
	}
	for _, s := range sites {
		resp, _ := s.ask("POST", "/login", url.Values{"token": {secret}}, browse)
		for _, c := range resp.Cookies() {
			jar[c.Name] = c.Value
		}
	}
	for i, s := range sites {
		if resp, _ := s.ask("GET", "/store", nil, browse); resp.StatusCode != http.StatusOK {
			t.Errorf("dashboard %d, after a login to each: %s", i, resp.Status)
		}
	}
	if resp, _ := sites[0].ask("POST", "/logout", url.Values{}, browse); len(resp.Cookies()) != 1 || jar[resp.Cookies()[0].Name] == "" || resp.Cookies()[0].MaxAge >= 0 {
		t.Errorf("a logout sets %v", resp.Cookies())
	}
}

func TestLoginLeadsToNoOtherSite(t *testing.T) {
	for next, want := range map[string]string{
		"": "/", "/": "/", "/name?name=a%2Fb": "/name?name=a%2Fb", "https://evil.example/": "/", "//evil.example/": "/",
		`/\evil.example`: "/", "///evil.example": "/", "javascript:alert(1)": "/", "name": "/", "/%2Fevil.example/": "/",
	} {
		if got := local(next); got != want {
			t.Errorf("after a login, %q leads to %q, want %q", next, got, want)
		}
	}
}

func TestOtherHostsNamesAreRefused(t *testing.T) {
	s := newSite(t, Options{})
	for host, ok := range map[string]bool{
		"127.0.0.1": true, "127.0.0.1:9": true, "localhost:8600": true, "[::1]:8600": true, "LOCALHOST": true,
		"evil.example": false, "evil.example:8600": false, "127.0.0.1.evil.example": false, "localhost.evil.example": false,
		"10.0.0.1:8600": false, "0.0.0.0:8600": false, "[fe80::1]:8600": false, "localhost@evil.example": false,
	} {
		resp, body := s.ask("GET", "/", nil, func(r *http.Request) { r.Host = host })
		if got := resp.StatusCode == http.StatusOK; got != ok {
			t.Errorf("Host: %s is answered %s\n%s", host, resp.Status, body)
		}
	}
}

// A timed answer has a deadline for what is read.
type timed struct {
	*httptest.ResponseRecorder
	deadline time.Time
}

func (w *timed) SetReadDeadline(at time.Time) error {
	w.deadline = at
	return nil
}

// Before it answers, the server reads a body that no handler wants, be the visitor let in or not.
func TestBodyHasToComeInTime(t *testing.T) {
	s := newSite(t, Options{Token: []byte(secret), AllowRelease: true})
	for _, c := range []struct{ method, path, host string }{
		{"POST", "/", "127.0.0.1"}, {"POST", "/", "evil.example"}, {"POST", "/release", "127.0.0.1"}, {"POST", "/login", "127.0.0.1"},
		{"PUT", "/nowhere", "127.0.0.1"}, {"GET", "/", "127.0.0.1"}, {"HEAD", "/static/dashboard.js", "127.0.0.1"},
	} {
		for what, body := range map[string]io.Reader{"a length": strings.NewReader("token=x"), "chunks": io.NopCloser(strings.NewReader("token=x"))} {
			r := httptest.NewRequest(c.method, c.path, body)
			r.Host = c.host
			w := &timed{ResponseRecorder: httptest.NewRecorder()}
			s.handler.ServeHTTP(w, r)
			if left := time.Until(w.deadline); left <= 0 || left > formTimeout {
				t.Errorf("%s %s of %s with %s: the body may take until %v", c.method, c.path, c.host, what, w.deadline)
			}
		}
	}
	w := &timed{ResponseRecorder: httptest.NewRecorder()}
	s.handler.ServeHTTP(w, httptest.NewRequest("GET", "http://127.0.0.1/login", nil))
	if !w.deadline.IsZero() {
		t.Error("what has no body has a deadline, which a stream would not outlive")
	}
}

// Every answer, also of an error, says what a page may load: nothing that is not served here.
func TestEveryAnswerHasThePolicy(t *testing.T) {
	s := newSite(t, Options{Token: []byte(secret), AllowRelease: true})
	for _, path := range []string{"/", "/login", "/static/dashboard.js", "/static/none", "/nowhere", "/name", "/release", "/events/list"} {
		resp, _ := s.ask("GET", path, nil, nil)
		got := resp.Header.Get("Content-Security-Policy")
		for _, want := range []string{
			"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'",
		} {
			if !strings.Contains(got, want) {
				t.Errorf("GET %s: the policy %q lacks %q", path, got, want)
			}
		}
		if strings.Contains(got, "unsafe") {
			t.Errorf("GET %s: the policy is %q", path, got)
		}
	}
}

var code = regexp.MustCompile(`name="code" value="([^"]*)"`)

func TestReleaseTakesAFormOfThisSiteAndTheTypedName(t *testing.T) {
	s := newSite(t, Options{AllowRelease: true, Operator: "the operator"})
	g := s.hold("a/b", "")
	token := fmt.Sprint(g.Token())
	_, form := s.ask("GET", "/release?name=a%2Fb&token="+token, nil, nil)
	m := code.FindStringSubmatch(form)
	if m == nil {
		t.Fatalf("there is no code in\n%s", form)
	}
	other := s.hold("c", "")
	_, form = s.ask("GET", "/release?name=c&token="+fmt.Sprint(other.Token()), nil, nil)
	foreign := code.FindStringSubmatch(form)
	if foreign == nil {
		t.Fatalf("there is no code in\n%s", form)
	}
	good := func() url.Values {
		return url.Values{"name": {"a/b"}, "token": {token}, "typed": {"a/b"}, "code": {m[1]}}
	}
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for what, c := range map[string]struct {
		set    url.Values
		edit   func(*http.Request)
		status int
	}{
		"another site":                {nil, header("Sec-Fetch-Site", "cross-site"), http.StatusForbidden},
		"another site's origin":       {nil, header("Origin", "https://evil.example"), http.StatusForbidden},
		"no code":                     {url.Values{"code": {""}}, nil, http.StatusForbidden},
		"the code for another":        {url.Values{"code": {foreign[1]}}, nil, http.StatusForbidden},
		"the code for another token":  {url.Values{"token": {token + "0"}}, nil, http.StatusForbidden},
		"the name not typed":          {url.Values{"typed": {""}}, nil, http.StatusUnprocessableEntity},
		"another name typed":          {url.Values{"typed": {"a/B"}}, nil, http.StatusUnprocessableEntity},
		"more than a form could have": {url.Values{"reason": {strings.Repeat("x", maxForm)}}, nil, http.StatusBadRequest},
	} {
		form := good()
		for k, v := range c.set {
			form[k] = v
		}
		if resp, body := s.ask("POST", "/release", form, c.edit); resp.StatusCode != c.status {
			t.Errorf("%s: %s, want %d\n%s", what, resp.Status, c.status, body)
		}
		if g.Context().Err() != nil {
			t.Fatalf("%s broke it: %v", what, context.Cause(g.Context()))
		}
	}
	if resp, _ := s.ask("GET", "/release?"+good().Encode(), nil, nil); resp.StatusCode != http.StatusOK || g.Context().Err() != nil {
		t.Errorf("GET: %s, %v", resp.Status, g.Context().Err())
	}
	form2 := good()
	form2.Set("force", "yes")
	form2.Set("reason", "it hangs")
	resp, body := s.ask("POST", "/release", form2, header("Sec-Fetch-Site", "same-origin"))
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("the form: %s\n%s", resp.Status, body)
	}
	select {
	case <-g.Context().Done():
	case <-time.After(patience):
		t.Fatal("the holder was never told")
	}
	if cause := context.Cause(g.Context()); !strings.Contains(cause.Error(), "the operator") || !strings.Contains(cause.Error(), "it hangs") {
		t.Errorf("the holder was told %v", cause)
	}
	for _, want := range []string{"a/b", "token=" + token, "it hangs", "force=true"} {
		if !strings.Contains(s.log.String(), want) {
			t.Errorf("%q is not in the log:\n%s", want, s.log)
		}
	}
	// Whoever has it now has another token, and keeps it.
	next := s.hold("a/b", "")
	if resp, body := s.ask("POST", "/release", form2, nil); resp.StatusCode != http.StatusConflict || next.Context().Err() != nil {
		t.Errorf("the same form again: %s, the next holder %v\n%s", resp.Status, next.Context().Err(), body)
	}
	if other.Context().Err() != nil {
		t.Error("another name was released")
	}
}

// Who asked may still be answered when the dashboard ends, and must not be told that nothing was done.
func TestReleaseCutShortIsNotSaidToHaveFailed(t *testing.T) {
	for what, end := range map[string]func(s *site, cancel func()){
		"the request is cancelled": func(_ *site, cancel func()) { cancel() },
		"the session is closed":    func(s *site, _ func()) { _ = s.onlooker.Close(context.Background()) },
	} {
		t.Run(what, func(t *testing.T) {
			s := newSite(t, Options{AllowRelease: true})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			stop := make(chan struct{})
			held := make(chan *session.Grant, 1)
			var work sync.WaitGroup
			work.Go(func() {
				_ = mutex.New(s.s, "a").Do(t.Context(), func(holding context.Context) error {
					g, _ := session.GrantFrom(holding)
					held <- g
					<-holding.Done() // it has been told
					end(s, cancel)
					<-stop // and does not let go
					return nil
				})
			})
			defer work.Wait()
			defer close(stop)
			g := <-held
			r := httptest.NewRequestWithContext(ctx, "POST", "/release", nil)
			status, answer := s.handler.breakIt(r, releaseBody{Name: "a"}, g.Token())
			if status != http.StatusServiceUnavailable || answer.title != "Not yet released" {
				t.Errorf("%d %s: %s", status, answer.title, answer.text)
			}
		})
	}
}

func TestNothingIsReleasedUnlessThatIsAllowed(t *testing.T) {
	s := newSite(t, Options{})
	s.hold("a", "")
	if body := s.shows(pageOf("a"), "1 holder"); strings.Contains(body, "/release") {
		t.Error("the page has a link to release")
	}
	for _, method := range []string{"GET", "POST"} {
		if resp, _ := s.ask(method, "/release?name=a&token=1", url.Values{}, nil); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s /release: %s", method, resp.Status)
		}
	}
}

func TestNamesWithoutThePrefixAreNeitherShownNorReleased(t *testing.T) {
	s := newSiteOf(t, "a/", Options{AllowRelease: true})
	inside, outside := s.hold("a/b", ""), s.hold("b/secret", "the note")
	s.shows(pageOf("a/b"), "1 holder")
	for path, want := range map[string]int{
		"/release?name=a%2Fb&token=" + fmt.Sprint(inside.Token()):       http.StatusOK,
		"/release?name=b%2Fsecret&token=" + fmt.Sprint(outside.Token()): http.StatusNotFound,
		pageOf("b/secret"):             http.StatusNotFound,
		"/events/name?name=b%2Fsecret": http.StatusNotFound,
		"/events/name?name=":           http.StatusBadRequest,
	} {
		if resp, body := s.ask("GET", path, nil, nil); resp.StatusCode != want || strings.Contains(body, "the note") {
			t.Errorf("%s: %s, want %d\n%s", path, resp.Status, want, body)
		}
	}
	if body := s.shows("/", "a/b"); strings.Contains(body, "secret") {
		t.Errorf("the list has a name without the prefix:\n%s", body)
	}
}

var hidden = regexp.MustCompile(`<input type="hidden"[^<>]*>`)

// hostile are names that are nothing but text.
var hostile = []string{
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' hx-get=/ hx-trigger=load '`, `a/b c/d&e?f#g%2f`, `{{.}}`,
	"שלום/עולם", "日本語/👩‍👩‍👧", "\u202egnp.exe", "</title></textarea><svg onload=alert(1)>", strings.Repeat("é", 256),
}

func TestHostileNamesAreTextEverywhere(t *testing.T) {
	s := newSite(t, Options{AllowRelease: true})
	for _, name := range hostile {
		token := fmt.Sprint(s.hold(name, "<script>alert(2)</script>\r\n\revent: rows\rdata: <script>").Token())
		for _, path := range []string{"/", pageOf(name), "/release?" + url.Values{"name": {name}, "token": {token}}.Encode()} {
			body := s.shows(path, "&lt;script&gt;alert(2)")
			body = hidden.ReplaceAllString(body, "") // what nobody sees is sent back as it is
			for _, bad := range []string{"<script>", "<img", "<svg", "<script >", "' hx-get", "\u202e", "\r"} {
				if strings.Contains(body, bad) {
					t.Errorf("%s has %q:\n%s", path, bad, body)
				}
			}
		}
		if body := s.shows(pageOf(name), "1 holder"); !strings.Contains(body, "sse-connect") {
			t.Errorf("the page of %q is\n%s", name, body)
		}
	}
}

// Kinds and modes come from the store as well.
func TestHostileKindsAndModesAreTextEverywhere(t *testing.T) {
	s := newSite(t, Options{AllowRelease: true})
	const evil = "x\r\n\revent: rows\rdata: <script>\u202e"
	g, err := watch.Turn(t.Context(), s.s, watch.Claim{Name: "a", Kind: evil, Mode: evil}, watch.Exclusive)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/", pageOf("a"), "/release?name=a&token=" + fmt.Sprint(g.Token())} {
		body := hidden.ReplaceAllString(s.shows(path, `x\r\n\revent: rows`), "")
		for _, bad := range []string{"<script>", "\u202e", "\r"} {
			if strings.Contains(body, bad) {
				t.Errorf("%s has %q:\n%s", path, bad, body)
			}
		}
	}
}

// A line ends with CR, LF or both, says the specification of server-sent events.
func TestNoLineOfAnEventIsAFieldOfItsOwn(t *testing.T) {
	w := httptest.NewRecorder()
	if err := (&stream{w: w}).send("part", "a\r\revent: b\r\ndata: c\n\nd"); err != nil {
		t.Fatal(err)
	}
	if got, want := w.Body.String(), "event: part\ndata: a\ndata: \ndata: event: b\ndata: data: c\ndata: \ndata: d\n\n"; got != want {
		t.Errorf("sent was %q, want %q", got, want)
	}
}

// events reads a stream until an event of that name contains the text.
func (s *site) events(path string) (next func(event, text string)) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*patience)
	s.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, "GET", s.server.URL+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := s.client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = resp.Body.Close() })
	lines := bufio.NewReader(resp.Body)
	return func(event, text string) {
		s.t.Helper()
		var name, data string
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				s.t.Fatalf("no event %s with %q: %v", event, text, err)
			}
			line = strings.TrimSuffix(line, "\n")
			if v, ok := strings.CutPrefix(line, "event: "); ok {
				name, data = v, ""
			} else if v, ok := strings.CutPrefix(line, "data: "); ok {
				data += v + "\n"
			} else if line == "" && name == event && strings.Contains(data, text) {
				return
			}
		}
	}
}

func TestStreamsTellWhatChanges(t *testing.T) {
	s := newSite(t, Options{})
	first := s.hold("m", "first")
	list, name := s.events("/events/list"), s.events("/events/name?name=m")
	name("standing", "first")
	second := make(chan *session.Grant, 1)
	go func() {
		g, _ := mutex.NewWith(s.s, "m", &watch.Options{Note: "second"}).Lock(t.Context())
		second <- g
	}()
	name("standing", "1 waiter")
	list("changes", `data-waiters="1"`)
	if err := first.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	name("past", "second")
	g := <-second
	if err := g.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	name("standing", "free")
	list("changes", "delete")
	s.hold("k", "")
	list("changes", "afterbegin")
}

func TestTraceURLsAreChecked(t *testing.T) {
	for address, ok := range map[string]bool{
		"": true, "https://t.example/{trace_id}": true, "http://t.example/?q={trace_id}&x=1": true,
		"https://t.example/": false, "javascript:alert({trace_id})": false, "/t/{trace_id}": false,
	} {
		if err := checkTraceURL(address); (err == nil) != ok {
			t.Errorf("%q: %v", address, err)
		}
	}
}
