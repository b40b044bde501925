package etcd

import (
	"net/url"

	"github.com/fairlead-go/fairlead/internal/storeurl"
)

// form is that of the URLs; the port is etcd's for clients.
var form = storeurl.Form{Scheme: "etcd", Port: "2379"}

// A target is what a URL says, with the endpoints as the client library has them.
type target struct {
	storeurl.Target
	endpoints []string // each with http:// or https://
}

func parseTarget(u *url.URL) (target, error) {
	t, err := form.Parse(u)
	if err != nil {
		return target{}, err
	}
	scheme := "http://"
	if t.TLS != nil {
		scheme = "https://"
	}
	full := target{Target: t}
	for _, h := range t.Hosts {
		full.endpoints = append(full.endpoints, scheme+h)
	}
	return full, nil
}
