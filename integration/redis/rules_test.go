package redis_test

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead-go/fairlead/internal/redisserver"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/redis"
)

// Those of the rules that one server alone has no use for are needed here.
func TestRulesForSentinelsAndClustersAreNeeded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		without string
		servers []*redisserver.Server
		url     string
	}{
		"norole":  {"+role", replicated.Servers(), through(replicated, "&namespace=norole")},
		"noslots": {"+cluster|slots", cluster.Servers(), at(cluster.Addrs(), "?namespace=noslots")},
	} {
		rules := strings.Fields(redis.Rules(name))
		as := strings.Replace(c.url, url.UserPassword(user, password).String(), url.UserPassword(name, password).String(), 1)
		allow := func(rules []string) {
			for _, s := range c.servers {
				do(t, s, append([]string{"ACL", "SETUSER", name, "reset", "on", ">" + password}, rules...)...)
			}
		}
		allow(slices.DeleteFunc(slices.Clone(rules), func(rule string) bool { return rule == c.without }))
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		s, err := session.Open(ctx, as, options(name, shortTTL))
		if err == nil {
			closeSession(t, s)
		}
		if !driver.IsPermanent(err) || !strings.Contains(err.Error(), "NOPERM") || ctx.Err() != nil {
			t.Errorf("without %s: %v, want a permanent error", c.without, err)
		}
		cancel()
		allow(rules)
		closeSession(t, open(t, as, name, shortTTL))
	}
}
