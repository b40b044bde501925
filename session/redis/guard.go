package redis

import (
	"fmt"
	"regexp"

	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
)

// Held is the source, in Lua, of a function that tells whether a grant is held: for a
// script of the caller's own, on keys on the same server. What that then writes is written
// while the grant is held, however long the process had been paused, or the request been
// on its way:
//
//	var set = rueidis.NewLuaScript(redis.Held + `
//		if not held(ARGV[1]) then return 0 end
//		redis.call('SET', KEYS[1], ARGV[2])
//		return 1`)
//
//	done, err := set.Exec(ctx, client, []string{"{fairlead}:balance"}, []string{redis.Guard(grant), "17"}).AsBool()
//	if err == nil && !done {
//		// the grant is over: nothing was written
//	}
//
// In a cluster, the keys need the namespace of the session as their hash tag, as here. A
// user needs the commands hget, hmget and info, on the keys of the namespace.
//
// That the grant is held is as true as all that Redis tells: on a server that was replaced
// and does not know, a write may succeed, and be lost with that server.
//
// Where the writes are not in a script, WATCH the key of the session and that of the
// queue, run a script that does nothing but return held(ARGV[1]), and then EXEC the writes.
const Held = `
local function held(guard)
	local token, pristine, prefix, name, id = string.match(guard, '^(%d+) ([01]) ({[^}]*}:)d:(.*)#(%x+)$')
	local record = token and redis.call('HGET', prefix .. 'd:' .. name, id)
	if not record then return false end
	local its, version, session = string.match(record, '^(%d+) (%d+) (%S+)')
	if its ~= token or (pristine == '1' and version ~= token) then return false end
	local server = redis.call('INFO', 'server', 'replication')
	local begun = redis.call('HMGET', prefix .. 's:' .. session, 'run', 'past')
	return begun[1] == string.match(server, 'run_id:(%w+)') and begun[2] == (string.match(server, 'master_replid2:(%w+)') or '')
end
`

var entryKey = regexp.MustCompile(`^\{[^}]+\}:d:.+#[0-9a-f]{32}$`)

// Guard returns the argument for the function held that stands for a grant.
//
// A grant of a mutex, an election or a semaphore, and a reader's, is held for as long as
// its entry is there and its session has not expired. A writer's grant ends in a
// downgrade, too, which changes the entry: for it, the entry has to be as it was made.
//
// A mutex with LocalHandoff does not pass such a grant on, as the next holder would have the same
// entry: its release goes to the store.
//
// Guard panics for a grant of another store.
func Guard(g *session.Grant) string {
	g.Pin()
	return guard(g.Key(), g.Token(), g.Kind() == "rwmutex" && g.Mode() == driver.Exclusive)
}

func guard(key string, token uint64, pristine bool) string {
	if !entryKey.MatchString(key) {
		panic(fmt.Sprintf("redis: Guard of a grant that is of another store: its key is %q", key))
	}
	version := 0
	if pristine {
		version = 1
	}
	return fmt.Sprintf("%d %d %s", token, version, key)
}
