package dashboard

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

const (
	// The prefix makes browsers insist on Secure and on this very host. Chromium and Firefox take
	// such a cookie from the loopback interface without TLS as well. See cookieName.
	cookiePrefix = "__Host-fairlead"
	loginLasts   = 12 * time.Hour
)

// policy lets a page load what is embedded here, and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// access decides who may do what.
type access struct {
	token []byte            // nil: whoever reaches this port may look
	key   []byte            // of this process, for what it signs
	cert  *x509.Certificate // whose names are this host's; nil: those of the loopback interface are
}

func newAccess(token []byte, cert *x509.Certificate) *access {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // it ends the program rather than return an error
	return &access{token: token, key: key, cert: cert}
}

// sign returns a code for parts, which nobody can make without the key.
func (a *access) sign(parts ...string) string {
	m := hmac.New(sha256.New, a.key)
	for _, p := range parts {
		_ = binary.Write(m, binary.BigEndian, uint64(len(p))) // never fails, for a hash
		m.Write([]byte(p))
	}
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

func (a *access) signed(code string, parts ...string) bool {
	return hmac.Equal([]byte(code), []byte(a.sign(parts...)))
}

// proves compares in constant time, also whatever the length is.
func (a *access) proves(token string) bool {
	want, got := sha256.Sum256(a.token), sha256.Sum256([]byte(token))
	return hmac.Equal(want[:], got[:])
}

// cookieName has the port by which the host was called: cookies are those of a host, and each
// of its dashboards needs one of its own.
func cookieName(r *http.Request) string {
	u := url.URL{Host: r.Host}
	if port := u.Port(); port != "" {
		return cookiePrefix + "-" + port
	}
	return cookiePrefix
}

// login returns the cookie of one who has shown the token.
func (a *access) login(r *http.Request) *http.Cookie {
	until := time.Now().Add(loginLasts)
	id := rand.Text() + "." + until.UTC().Format("20060102T150405Z")
	return &http.Cookie{
		Name: cookieName(r), Value: id + "." + a.sign("login", id), Path: "/", Expires: until,
		Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	}
}

// visitor returns whose request it is, and false when it may not look. Without a token,
// and with the token in a header, it is "".
func (a *access) visitor(r *http.Request) (id string, ok bool) {
	if a.token == nil {
		return "", true
	}
	if scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "Bearer") {
		return "", a.proves(token)
	}
	c, err := r.Cookie(cookieName(r))
	if err != nil {
		return "", false
	}
	at := strings.LastIndex(c.Value, ".")
	if at < 0 || !a.signed(c.Value[at+1:], "login", c.Value[:at]) {
		return "", false
	}
	id = c.Value[:at]
	_, stamp, _ := strings.Cut(id, ".")
	until, err := time.Parse("20060102T150405Z", stamp)
	return id, err == nil && time.Now().Before(until)
}

// here reports whether a Host header names this host.
func (a *access) here(host string) bool {
	u, err := url.Parse("//" + host)
	if err != nil || u.Hostname() == "" || u.User != nil {
		return false
	}
	name := u.Hostname()
	if strings.EqualFold(name, "localhost") {
		return true
	}
	if ip, err := netip.ParseAddr(name); err == nil && ip.Unmap().IsLoopback() {
		return true
	}
	if a.cert == nil {
		return false
	}
	if ip := net.ParseIP(name); ip != nil {
		name = "[" + name + "]" // as VerifyHostname has it
	}
	return a.cert.VerifyHostname(name) == nil
}

// guarded lets through what may pass.
func (a *access) guarded(next http.Handler) http.Handler {
	cross := http.NewCrossOriginProtection()
	next = cross.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Also of those who may not pass: before the answer the server reads what is left.
		// A timeout of the server's would end the streams.
		if r.ContentLength != 0 {
			short(w, r)
		}
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if !a.here(r.Host) {
			http.Error(w, "this host is not called so", http.StatusMisdirectedRequest)
			return
		}
		open := r.URL.Path == "/login" || strings.HasPrefix(r.URL.Path, "/static/")
		if _, ok := a.visitor(r); ok || open {
			next.ServeHTTP(w, r)
			return
		}
		if r.Method == http.MethodGet && r.Header.Get("Authorization") == "" && strings.Contains(r.Header.Get("Accept"), "text/html") {
			http.Redirect(w, r, "/login?next="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
			return
		}
		h.Set("WWW-Authenticate", `Bearer realm="fairlead"`)
		http.Error(w, "log in at /login, or send the token as Authorization: Bearer TOKEN", http.StatusUnauthorized)
	})
}
