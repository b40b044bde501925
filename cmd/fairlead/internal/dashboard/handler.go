package dashboard

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/fairlead-go/fairlead/cmd/fairlead/internal/view"
	"github.com/fairlead-go/fairlead/session/driver"
)

// traceID is what stands for the trace in the address of one.
const traceID = "{trace_id}"

//go:embed templates static
var files embed.FS

// Options of a handler. Its zero value, and nil, serve whoever can reach it, read-only.
type Options struct {
	Token        []byte            // that requests must bring; nil: none
	Certificate  *x509.Certificate // that the server shows; nil: it has none, and the loopback interface's names
	AllowRelease bool              // serve the form that breaks a grant
	Operator     string            // by whom a grant is broken, as its owner is told
	TraceURL     string            // where traces are shown, with {trace_id}; "": no links
	Logger       *slog.Logger      // gets who broke what; nil: slog.Default()
}

// A Handler serves the pages of a board.
type Handler struct {
	http.Handler
	board   *Board
	opts    Options
	access  *access
	pages   map[string]*template.Template
	version string // of the static files
}

// New returns a handler. It fails when the options make no sense.
func New(board *Board, opts *Options) (*Handler, error) {
	h := &Handler{board: board}
	if opts != nil {
		h.opts = *opts
	}
	if h.opts.Logger == nil {
		h.opts.Logger = slog.Default()
	}
	if err := checkTraceURL(h.opts.TraceURL); err != nil {
		return nil, err
	}
	h.access = newAccess(h.opts.Token, h.opts.Certificate)
	if err := h.parse(); err != nil {
		return nil, err
	}
	h.Handler = h.access.guarded(h.routes())
	return h, nil
}

func checkTraceURL(address string) error {
	if address == "" {
		return nil
	}
	u, err := url.Parse(strings.ReplaceAll(address, traceID, "0"))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || !strings.Contains(address, traceID) {
		return fmt.Errorf("the address of traces %q is no http or https URL with %s in it", address, traceID)
	}
	return nil
}

func (h *Handler) parse() error {
	sum := sha256.New()
	err := fs.WalkDir(files, "static", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := files.ReadFile(path)
		sum.Write(content)
		return err
	})
	if err != nil {
		return err
	}
	h.version = hex.EncodeToString(sum.Sum(nil)[:6])
	h.pages = map[string]*template.Template{}
	functions := template.FuncMap{
		"text": view.Escape, "kind": kindOf,
		"page": func(name string) string { return "/name?" + url.Values{"name": {name}}.Encode() },
	}
	for _, page := range []string{"list", "name", "store", "login", "release", "message"} {
		t, err := template.New(page).Funcs(functions).ParseFS(files, "templates/layout.html", "templates/parts.html", "templates/"+page+".html")
		if err != nil {
			return err
		}
		h.pages[page] = t
	}
	return nil
}

func (h *Handler) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", h.list("Names", ""))
	mux.HandleFunc("GET /elections", h.list("Elections", "election"))
	mux.HandleFunc("GET /name", h.name)
	mux.HandleFunc("GET /store", h.store)
	mux.HandleFunc("GET /events/list", h.streamList)
	mux.HandleFunc("GET /events/name", h.streamName)
	mux.HandleFunc("GET /events/store", h.streamStore)
	static, _ := fs.Sub(files, "static") // fails only for a path that is not valid
	mux.Handle("GET /static/", http.StripPrefix("/static/", cached(http.FileServerFS(static))))
	if h.opts.Token != nil {
		mux.HandleFunc("GET /login", h.loginForm)
		mux.HandleFunc("POST /login", h.login)
		mux.HandleFunc("POST /logout", h.logout)
	}
	if h.opts.AllowRelease {
		mux.HandleFunc("GET /release", h.releaseForm)
		mux.HandleFunc("POST /release", h.release)
	}
	return mux
}

// cached lets browsers keep what never changes under its address.
func cached(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		next.ServeHTTP(w, r)
	})
}

// A page is what every page has, and its own Body.
type page struct {
	Title   string
	Nav     string
	Version string
	Now     int64
	Stream  string // address of its events; "": it is not live
	Health  health
	Login   bool // there is something to log out of
	Body    any
}

func (h *Handler) serve(w http.ResponseWriter, status int, name string, p page) {
	p.Version, p.Now, p.Health, p.Login = h.version, time.Now().UnixMilli(), h.health(), h.opts.Token != nil
	var b bytes.Buffer
	if err := h.pages[name].ExecuteTemplate(&b, "layout.html", p); err != nil {
		h.opts.Logger.Error("a page could not be made", "page", name, "error", err)
		http.Error(w, "the page could not be made", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the browser may have gone
}

// fragment renders a part of a page.
func (h *Handler) fragment(page, part string, data any) string {
	var b strings.Builder
	if err := h.pages[page].ExecuteTemplate(&b, part, data); err != nil {
		h.opts.Logger.Error("a part of a page could not be made", "part", part, "error", err)
	}
	return b.String()
}

// listBody is the body of the page of a list.
type listBody struct {
	Tally tally
	Kind  string
	Rows  []row
}

func (h *Handler) list(title, kind string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		queues := h.board.queues()
		h.serve(w, http.StatusOK, "list", page{
			Title: title, Nav: title, Stream: "/events/list?kind=" + kind,
			Body: listBody{tallyOf(queues, kind, h.board.prefix, h.read()), kind, rows(queues, kind)},
		})
	}
}

func (h *Handler) read() bool { return h.board.wasListed() }

// nameBody is the body of the page of a name.
type nameBody struct {
	Name     string
	Kind     string
	Standing standing
	Past     past
	Figures  []figure
}

func (h *Handler) name(w http.ResponseWriter, r *http.Request) {
	name, err := h.nameOf(r)
	if err != nil {
		h.refuse(w, statusOf(err), "No such name", err)
		return
	}
	d := h.board.dossier(name)
	h.serve(w, http.StatusOK, "name", page{
		Title: name, Stream: "/events/name?" + url.Values{"name": {name}}.Encode(),
		Body: nameBody{name, d.queue.Kind, h.standing(d), h.past(d), figures(d)},
	})
}

// errOutside is the error of a name that does not begin as those of the dashboard do.
var errOutside = errors.New("the dashboard does not show this name")

// nameOf returns the name that a request is for, if the dashboard shows it.
func (h *Handler) nameOf(r *http.Request) (string, error) {
	name := r.FormValue("name")
	if name == "" {
		return "", errors.New("the address has no name")
	}
	if !strings.HasPrefix(name, h.board.prefix) {
		return "", fmt.Errorf("%w: only names that start with %q", errOutside, h.board.prefix)
	}
	return name, driver.CheckName(name)
}

// statusOf is that of an answer to a request without a name to show.
func statusOf(err error) int {
	if errors.Is(err, errOutside) {
		return http.StatusNotFound
	}
	return http.StatusBadRequest
}

func (h *Handler) store(w http.ResponseWriter, _ *http.Request) {
	h.serve(w, http.StatusOK, "store", page{Title: "Store", Nav: "Store", Stream: "/events/store"})
}

// messageBody is the body of a page that says how something went.
type messageBody struct {
	Good bool
	Text string
	Name string // to go on with; "" for none
}

func (h *Handler) refuse(w http.ResponseWriter, status int, title string, err error) {
	h.serve(w, status, "message", page{Title: title, Body: messageBody{Text: err.Error()}})
}

// loginBody is the body of the login page.
type loginBody struct {
	Next  string
	Wrong bool
}

func (h *Handler) loginForm(w http.ResponseWriter, r *http.Request) {
	h.serve(w, http.StatusOK, "login", page{Title: "Log in", Body: loginBody{Next: r.FormValue("next")}})
}

func (h *Handler) login(w http.ResponseWriter, r *http.Request) {
	next := r.PostFormValue("next")
	if !h.access.proves(r.PostFormValue("token")) {
		h.opts.Logger.Warn("somebody tried to log in with a wrong token", "from", r.RemoteAddr)
		h.serve(w, http.StatusUnauthorized, "login", page{Title: "Log in", Body: loginBody{next, true}})
		return
	}
	http.SetCookie(w, h.access.login(r))
	http.Redirect(w, r, local(next), http.StatusSeeOther)
}

func (h *Handler) logout(w http.ResponseWriter, r *http.Request) {
	c := h.access.login(r)
	c.Value, c.MaxAge = "", -1
	http.SetCookie(w, c)
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

// local returns an address of this site: that one, or "/".
func local(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(u.Path, "/") || strings.HasPrefix(u.Path, "//") || strings.Contains(address, `\`) {
		return "/"
	}
	return u.RequestURI()
}
