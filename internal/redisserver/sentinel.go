package redisserver

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

const (
	// master is what the sentinels call the primary.
	master = "fairlead"

	// downAfter is how long a server is silent when a sentinel takes it for dead.
	downAfter = 500 * time.Millisecond

	// failoverTimeout bounds the steps of a failover; after twice this time one
	// that has come to nothing is tried again.
	failoverTimeout = 2 * time.Second
)

// hurry has a sentinel do several times a second what it does every second, every
// two or every ten, such as to look who else is there and who replicates from
// whom. It also takes up its work a second after it was frozen, rather than
// thirty.
//
// A sentinel that sees a primary where a replica should be waits for four
// periods of publishing, and demotes it if nobody has published until then that
// it was promoted. Who promotes it looks once a second whether that is done,
// whatever the settings. So four periods have to be clearly more than a second:
// otherwise one sentinel undoes what another does.
var hurry = []string{
	"SENTINEL", "DEBUG",
	"PUBLISH-PERIOD", "500",
	"INFO-PERIOD", "200", "PING-PERIOD", "200", "ASK-PERIOD", "200",
	"MIN-LINK-RECONNECT-PERIOD", "1000", "TILT-PERIOD", "1000",
}

// watch returns what redis.conf has of n sentinels that watch the first server.
func watch(n int) func(_ *Server, all []*Server) map[string]string {
	return func(self *Server, all []*Server) map[string]string {
		primary := all[0]
		of := func(option string) string { return "sentinel " + option + " " + master }
		return map[string]string{
			"sentinel announce-ip": self.place.host.Addr,
			of("monitor"): fmt.Sprintf("%s %d %d",
				primary.place.host.Addr, primary.place.peer().Number, n/2+1),
			of("auth-user"):               admin,
			of("auth-pass"):               primary.password,
			of("down-after-milliseconds"): strconv.FormatInt(downAfter.Milliseconds(), 10),
			of("failover-timeout"):        strconv.FormatInt(failoverTimeout.Milliseconds(), 10),
		}
	}
}

// sees returns nil when the sentinel takes the server for the primary, knows of
// so many other sentinels, or with -1 of any number, and has heard from a replica
// that it is one: before, it may demote what another sentinel promotes.
func (s *Server) sees(ctx context.Context, primary *Server, others int) error {
	reply, err := ask[[]any](ctx, s, "SENTINEL", "MASTER", master)
	if err != nil {
		return err
	}
	m := pairs(reply)
	if m["port"] != strconv.Itoa(primary.place.peer().Number) || m["flags"] != "master" ||
		others >= 0 && m["num-other-sentinels"] != strconv.Itoa(others) {
		return fmt.Errorf("the sentinel at %s sees a primary at port %s that is %s, and %s other sentinels",
			s.Addr(), m["port"], m["flags"], m["num-other-sentinels"])
	}
	reply, err = ask[[]any](ctx, s, "SENTINEL", "REPLICAS", master)
	if err != nil {
		return err
	}
	for _, r := range reply {
		fields, _ := r.([]any)
		m := pairs(fields)
		if m["flags"] == "slave" && m["role-reported"] == "slave" && m["master-link-status"] == "ok" {
			return nil
		}
	}
	return fmt.Errorf("the sentinel at %s sees no replica that replicates, of %d", s.Addr(), len(reply))
}

// pairs reads a list of names, each followed by its value.
func pairs(list []any) map[string]string {
	all := make(map[string]string)
	for i := 0; i+1 < len(list); i += 2 {
		name, _ := list[i].(string)
		all[name], _ = list[i+1].(string)
	}
	return all
}
