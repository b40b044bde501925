package embed

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairlead-go/fairlead/internal/storeurl"
	"github.com/fairlead-go/fairlead/internal/storeurl/urltest"
)

// A directory is one that can be told from others: it is in its only spelling, and no root.
func FuzzURL(f *testing.F) {
	for _, raw := range append(urltest.Seeds("embed"), "embed:///var/lib/x?listen=127.0.0.1:1&ttl=3s", "embed:///a/../..", "embed:///C:/data", "embed:///.") {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := storeurl.Split(raw)
		if err != nil {
			return
		}
		cfg, err := parseURL(u)
		if err != nil {
			if urltest.HasSecret(raw) && strings.Contains(err.Error(), urltest.Secret) {
				t.Errorf("the password of %q is in %q", raw, err)
			}
			return
		}
		if root := filepath.Clean(string(filepath.Separator)); filepath.Clean(cfg.Dir) != cfg.Dir || cfg.Dir == root || cfg.Dir == "." || u.Host != "" || u.User != nil {
			t.Errorf("%q is the directory %q", raw, cfg.Dir)
		}
	})
}
