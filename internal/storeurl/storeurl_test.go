package storeurl

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead-go/fairlead/internal/storeurl/urltest"
	"github.com/fairlead-go/fairlead/session/driver"
)

func TestHostOfAListMeansWhatItMeansAlone(t *testing.T) {
	for host, want := range map[string]string{
		"h":                "h",
		"h:9":              "h:9",
		"[::1]:9":          "[::1]:9",
		"[fe80::1%25eth0]": "[fe80::1%eth0]",
		"%C3%BC":           "ü",
		"a b":              "",
		"h%20":             "",
		"h:x":              "",
		"[::1":             "",
	} {
		for _, raw := range []string{"x://" + host, "x://h0:1," + host + ",h2/a", "x://u:p@" + host + ",h2:2?ttl=1s"} {
			u, err := Split(raw)
			switch {
			case want == "" && err == nil:
				t.Errorf("%s: the host is taken for %q", raw, u.Host)
			case want != "" && (err != nil || !slices.Contains(strings.Split(u.Host, ","), want)):
				t.Errorf("%s: %v, %v, want the host %q", raw, u, err, want)
			}
		}
	}
}

func TestPlaceShowsNeitherPasswordNorParameters(t *testing.T) {
	u, err := Split("x://u:secret@h1:1,h2/a%2Fb?password=secret#secret")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := Place(u), "x://u:xxxxx@h1:1,h2/a%2Fb"; got != want {
		t.Errorf("the place is %s, want %s", got, want)
	}
}

// What was read, written as a URL again, is read as the same. What is refused is refused
// without the password.
func FuzzParse(f *testing.F) {
	for _, raw := range append(urltest.Seeds("etcd"), "etcds://h?server-name=a%26b", "etcd://h/a?ttl=%20", "etcd://u:p@h/?cacert=x") {
		f.Add(raw)
	}
	form := Form{Scheme: "etcd", Port: "2379", BarePassword: true}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := Split(raw)
		var first Target
		said := ""
		if err == nil {
			said = Place(u)
			for _, file := range []string{"password-file", "cacert", "cert", "key"} {
				if u.Query().Has(file) {
					return
				}
			}
			if first, err = form.Parse(u); err != nil && !driver.IsPermanent(err) {
				t.Errorf("%q: %v is not permanent", raw, err)
			}
		}
		if said += fmt.Sprint(err); urltest.HasSecret(raw) && strings.Contains(said, urltest.Secret) {
			t.Errorf("the password of %q is in %q", raw, said)
		}
		if err != nil {
			return
		}
		text := written(u.Scheme, first)
		again, err := Split(text)
		if err != nil {
			t.Fatalf("%q, written as %q: %v", raw, text, err)
		}
		second, err := form.Parse(again)
		if err != nil || !slices.Equal(first.Hosts, second.Hosts) || first.Path != second.Path || first.User != second.User ||
			first.Password != second.Password || first.Query.Encode() != second.Query.Encode() || (first.TLS == nil) != (second.TLS == nil) {
			t.Errorf("%q is %+v; written as %q it is %+v, %v", raw, first, text, second, err)
		}
	})
}

// written is the URL that says what was read.
func written(scheme string, t Target) string {
	user := ""
	if t.User != "" || t.Password != "" {
		user = url.UserPassword(t.User, t.Password).String() + "@"
	}
	var hosts []string
	for _, h := range t.Hosts {
		hosts = append(hosts, (&url.URL{Host: h}).String()[len("//"):])
	}
	behind := url.URL{Path: t.Path, RawQuery: t.Query.Encode()}
	return scheme + "://" + user + strings.Join(hosts, ",") + strings.ReplaceAll(behind.String(), "@", "%40")
}
