package redis

import (
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/fairlead-go/fairlead/internal/storeurl"
	"github.com/fairlead-go/fairlead/session/driver"
)

// form is that of the URLs.
var form = storeurl.Form{
	Scheme: "redis", Port: "6379", BarePassword: true,
	Parameters: []string{"namespace", "wait", "sentinel", "sentinel-user", "sentinel-password-file"},
}

// sentinelPort is where sentinels listen, unless told otherwise.
const sentinelPort = "26379"

// DefaultNamespace is where a URL without a namespace has its keys.
const DefaultNamespace = "fairlead"

// maxReplicas is the most that wait may ask for.
const maxReplicas = 100

// A target is what a URL says.
type target struct {
	storeurl.Target
	namespace                      string
	database                       int
	replicas                       int
	sentinel                       string // the name of the primary; "" without sentinels
	sentinelUser, sentinelPassword string
}

func parseTarget(u *url.URL) (target, error) {
	form := form
	if u.Query().Get("sentinel") != "" {
		form.Port = sentinelPort
	}
	common, err := form.Parse(u)
	if err != nil {
		return target{}, err
	}
	t := target{Target: common}
	if err := t.parse(); err != nil {
		return t, driver.Permanent(err)
	}
	return t, nil
}

func (t *target) parse() (err error) {
	if t.namespace = t.Query.Get("namespace"); t.namespace == "" {
		t.namespace = DefaultNamespace
	}
	if err := checkNamespace(t.namespace); err != nil {
		return err
	}
	if path := strings.Trim(t.Path, "/"); path != "" {
		if t.database, err = strconv.Atoi(path); err != nil || t.database < 0 || strconv.Itoa(t.database) != path {
			return fmt.Errorf("the path %q is not the number of a database: for names of one's own there is ?namespace=", t.Path)
		}
	}
	if wait := t.Query.Get("wait"); wait != "" {
		if t.replicas, err = strconv.Atoi(wait); err != nil || t.replicas < 0 || t.replicas > maxReplicas {
			return fmt.Errorf("wait=%s is not a number of replicas from 0 to %d", wait, maxReplicas)
		}
	}
	t.sentinel, t.sentinelUser = t.Query.Get("sentinel"), t.Query.Get("sentinel-user")
	file := t.Query.Get("sentinel-password-file")
	switch {
	case t.sentinel == "" && (t.sentinelUser != "" || file != ""):
		return fmt.Errorf("sentinel-user and sentinel-password-file need sentinel=NAME, the name of the primary that the sentinels watch")
	case t.sentinelUser != "" && file == "":
		return fmt.Errorf("sentinel-user needs sentinel-password-file")
	case file == "":
		return nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("sentinel-password-file: %w", err)
	}
	t.sentinelPassword = strings.TrimRight(string(b), "\r\n")
	return nil
}

var namespaces = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,64}$`)

func checkNamespace(namespace string) error {
	if !namespaces.MatchString(namespace) {
		return fmt.Errorf("the namespace %q is not made of 1 to 64 letters, digits, and _ . : -", namespace)
	}
	return nil
}
