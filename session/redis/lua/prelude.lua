-- What all scripts begin with. KEYS[1] is the key "guard" of the namespace, from
-- which the other keys follow; they have its hash tag, and so its slot. See doc.go
-- for what is under which key.

local call = redis.call
local prefix = string.sub(KEYS[1], 1, -6)
local Q, D, S, names = prefix .. 'q:', prefix .. 'd:', prefix .. 's:', prefix .. 'names'

local function micros()
	local time = call('TIME')
	return time[1] * 1000000 + time[2]
end

-- What the server says of itself, and which reign of it this is: its run, and whose history
-- it goes on with. A replica that becomes the primary begins another reign, as its data and the
-- sessions of when it was the primary before may have been replaced meanwhile. It takes a third
-- of the time of a script, so it is not asked where it does not matter.
local server, run, past, reign
local function said(field) -- to look for a pattern at every place takes far longer
	local _, last = string.find(server, field, 1, true)
	return last and string.match(server, '^%w+', last + 1)
end
local function ask()
	server = call('INFO', 'server', 'replication')
	run, past = said('run_id:'), said('master_replid2:') or ''
	reign = run .. '-' .. past
end

-- Whether a session is alive: it has not expired, and was not begun under another reign, which
-- may not have had all that was written under the one before.
local alive = {}
local function isAlive(session)
	local is = alive[session]
	if is == nil then
		if not run then ask() end
		local its = call('HMGET', S .. session, 'run', 'past')
		is = its[1] == run and its[2] == past
		alive[session] = is
	end
	return is
end

-- The milliseconds that a session has left, 0 when it is over.
local known = {}
local function left(session)
	if not session then return 1 end -- of a garbled record, which whoever reads it complains of
	local ms = known[session]
	if not ms then
		ms = isAlive(session) and math.max(1, call('PTTL', S .. session)) or 0
		known[session] = ms
	end
	return ms
end

-- The head of a record: token, version, session, inbox, mode.
local function head(record)
	return string.match(record, '^(%d+) (%d+) (%S+) (%S+) (%S+)')
end

-- The record of an entry. One that somebody has taken away by hand, be it from the order
-- alone, is not there.
local function lookup(name, id)
	return call('ZRANK', Q .. name, id) and call('HGET', D .. name, id)
end

-- A number larger than all before: microseconds, unless there were more of them. So it
-- rises still where the last one was lost.
local function tick()
	local last = tonumber(call('GET', prefix .. 'token') or 0)
	local next = string.format('%.0f', math.max(last + 1, micros()))
	call('SET', prefix .. 'token', next)
	return next
end

local function tell(inbox, message)
	call('SPUBLISH', prefix .. 'i:' .. inbox, message)
end

-- Tells those who watch the queue.
local function changed(name)
	call('SPUBLISH', prefix .. 'c:' .. name, '')
end

local remove

-- The entry right ahead of one, or the last of the queue, with its record and its
-- session's milliseconds. Those whose session is over are removed on the way.
local function nearest(name, id)
	while true do
		local at = -1
		if id then
			at = call('ZRANK', Q .. name, id) - 1
			if at < 0 then return nil end
		end
		local found = call('ZRANGE', Q .. name, at, at)[1]
		if not found then return nil end
		local record = call('HGET', D .. name, found)
		if record then
			local _, _, session = head(record)
			local ms = left(session)
			if ms > 0 then return found, record, ms end
		end
		remove(name, found)
	end
end

-- Who leaves stays on the lists that it is on: to find those would cost every leave something.
-- So a list that has grown to more than twice what the queue has, and then some, is made anew
-- of those who are still there. An ID has 32 digits, and a space between two.
local function present(name, waiters)
	local last = call('ZRANGE', Q .. name, -1, -1)[1]
	local there = last and call('ZRANK', Q .. name, last) + 1 or 0
	if #waiters <= 33 * (2 * there + 16) then return waiters end
	local rest = {}
	for id in string.gmatch(waiters, '%S+') do
		if call('HEXISTS', D .. name, id) == 1 then rest[#rest + 1] = id end
	end
	return table.concat(rest, ' ')
end

-- Has an entry told when another, or the limit, leaves or changes. Who is told is kept with
-- the queue, so that nothing is left when that is empty, whatever became of whom.
local function enrol(name, what, id)
	local field = 'w:' .. what
	local waiters = call('HGET', D .. name, field)
	if not waiters then
		call('HSET', D .. name, field, id)
	elseif not string.find(waiters, id, 1, true) then
		if #waiters > 33 * 16 then waiters = present(name, waiters) end
		call('HSET', D .. name, field, waiters .. ' ' .. id)
	end
end

-- Tells who waits for an entry or for the limit that it has left or changed, and returns
-- whether any of them is there. An exclusive entry is told whether it is first now, and
-- otherwise waits for the next one ahead from here on: it need not ask.
local function inform(name, what, waiters)
	local any = false
	for id in string.gmatch(waiters, '%S+') do
		local rank = call('ZRANK', Q .. name, id)
		local record = rank and call('HGET', D .. name, id)
		if record then
			any = true
			local _, _, session, inbox, mode = head(record)
			if not session or not isAlive(session) then
				-- Whoever is behind it has a timer of its own.
			elseif mode ~= 'exclusive' then
				tell(inbox, id .. ' look ' .. what)
			else
				local near, nears, ms
				if rank > 0 then near, nears, ms = nearest(name, id) end
				if near then
					enrol(name, near, id)
					tell(inbox, table.concat({ id, 'behind', what, near, ms, nears }, ' '))
				else
					tell(inbox, id .. ' first ' .. what)
				end
			end
		end
	end
	return any
end

-- The same where the entry or the limit has changed, and is still there.
local function wake(name, what)
	local waiters = call('HGET', D .. name, 'w:' .. what)
	if not waiters then return end
	call('HDEL', D .. name, 'w:' .. what)
	inform(name, what, waiters)
end

-- Removes an entry; with a token only one that has it.
remove = function(name, id, token)
	local record, waiters = unpack(call('HMGET', D .. name, id, 'w:' .. id))
	local its, _, session = head(record or '')
	if token and (not record or (its or token) ~= token) then return end
	call('ZREM', Q .. name, id)
	call('HDEL', D .. name, id, 'w:' .. id)
	if session then call('HDEL', S .. session, 'e:' .. id) end
	if not (waiters and inform(name, id, waiters)) and call('EXISTS', Q .. name) == 0 then
		call('DEL', D .. name)
		call('ZREM', names, name)
	end
	changed(name)
end

local page = 500 -- of entries that are read at a time

-- The entries of a queue, in order, up to a rank unless that is nil, and to a number
-- unless that is 0: ID, record and milliseconds of each. What sessions that are over have left
-- is removed.
local function live(name, last, most)
	local found, dead, at = {}, {}, 0
	last = last or -1
	while last < 0 or at <= last do
		local to = at + page - 1
		if last >= 0 then to = math.min(to, last) end
		local ids = call('ZRANGE', Q .. name, at, to)
		if #ids == 0 then break end
		local records = call('HMGET', D .. name, unpack(ids))
		for i, id in ipairs(ids) do
			local record = records[i]
			local _, _, session = head(record or '')
			local ms = record and left(session) or 0
			if ms == 0 then
				dead[#dead + 1] = id
			else
				local n = #found
				found[n + 1], found[n + 2], found[n + 3] = id, record, ms
				if n + 3 == 3 * most then
					last = 0 -- no further page
					break
				end
			end
		end
		at = at + page
	end
	for _, id in ipairs(dead) do remove(name, id) end
	return found
end

local marksPerEpoch = 1000 -- of claims that a session has withdrawn

local function extend(reply, more)
	for _, word in ipairs(more) do reply[#reply + 1] = word end
	return reply
end

-- The limit of a queue: "N through stamp version", or "".
local function limit(name)
	return call('HGET', D .. name, 'limit') or ''
end

-- What an entry sees: the limit, the entry, and who is ahead of it, of whom an exclusive
-- entry sees the nearest alone. nil if it is not there.
local function view(name, id, token)
	local record = lookup(name, id)
	local its, _, session, _, mode = head(record or '')
	if not its or (token ~= '' and token ~= its) then return nil end
	local reply = { 'ok', limit(name), id, record, left(session) }
	if mode == 'exclusive' then
		local near, nears, ms = nearest(name, id)
		if near then
			reply[6], reply[7], reply[8] = near, nears, ms
		end
		return reply
	end
	local rank = call('ZRANK', Q .. name, id)
	if rank > 0 then extend(reply, live(name, rank - 1, 0)) end
	return reply
end
