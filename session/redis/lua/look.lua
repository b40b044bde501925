-- Looks at the queue from an entry, and waits: ARGV is session, name, ID, token, version of
-- the limit or "", and then ID and version of each obstacle. If all of them are there,
-- unchanged, their changes will be told from now on; otherwise the reply is a view. Without
-- obstacles it is one, too.
local session, name, id, token, version = unpack(ARGV, 1, 5)
if left(session) == 0 then return { 'lease' } end
local its = string.match(lookup(name, id) or '', '^%d+')
if its ~= token then
	-- Deleted by hand: those behind it are told, and nothing stays of it.
	if not its then remove(name, id) end
	return { 'gone' }
end
local same, soonest = #ARGV > 5 or version ~= '', nil
for i = 6, #ARGV, 2 do
	local record = lookup(name, ARGV[i])
	local _, its, session = string.match(record or '', '^(%d+) (%d+) (%S+)')
	local ms = session and left(session) or 0
	if ms == 0 or its ~= ARGV[i + 1] then same = false end
	soonest = math.min(soonest or ms, ms)
end
if version ~= '' and (string.match(limit(name), '%d+$') or '0') ~= version then same = false end
if not same then
	local reply = view(name, id, token)
	if reply[6] and #reply == 8 and string.match(reply[4], '^%d+ %d+ %S+ %S+ exclusive') then
		enrol(name, reply[6], id)
	end
	return reply
end
for i = 6, #ARGV, 2 do enrol(name, ARGV[i], id) end
if version ~= '' then enrol(name, 'limit', id) end
return { 'blocked', soonest }
