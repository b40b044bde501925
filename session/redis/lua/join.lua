-- Appends an entry: ARGV is session, name, ID, inbox, mode, info, value, limit (0: none),
-- seen, the limit's version that was seen, and the epoch of the session. Unless seen is "",
-- there must be no entry with a larger version, and the limit must be that one.
local function newest(entries)
	local version = 0
	for i = 2, #entries, 3 do
		local _, its = head(entries[i])
		version = math.max(version, tonumber(its or 0))
	end
	return version
end

local session, name, id, inbox, mode, info, value, n, seen, version, epoch = unpack(ARGV)
if left(session) == 0 then return { 'lease' } end
local withdrawn, many = unpack(call('HMGET', S .. session, 'x:' .. id, 'withdrawn'))
if withdrawn then return { 'withdrawn' } end
local present = math.floor((many or 0) / marksPerEpoch)
if epoch ~= tostring(present) then return { 'epoch', present } end
local all = (n ~= '0' or seen ~= '' or mode ~= 'exclusive') and live(name, nil, 0) or {}
local there, now = unpack(call('HMGET', D .. name, id, 'limit'))
if there then return { 'used' } end
now = now or ''

local last = call('ZRANGE', Q .. name, -1, -1, 'WITHSCORES')
if n ~= '0' and last[1] and string.match(now, '^%d*') ~= n then
	return extend({ 'limit', now }, all)
end
if seen ~= '' and (newest(all) > tonumber(seen) or (string.match(now, '%d+$') or '0') ~= version) then
	return extend({ 'seen', now }, all)
end
local token = tick()
if n ~= '0' and not last[1] then
	now = n .. ' 0 0 ' .. token
	call('HSET', D .. name, 'limit', now)
	token = tick()
end
local reply = { 'ok', now, token, left(session) }
if not last[1] then
	call('ZADD', names, 0, name)
elseif mode == 'exclusive' then
	local near, nears, ms = nearest(name)
	if near then
		reply[5], reply[6], reply[7] = near, nears, ms
		enrol(name, near, id)
	else
		reply[2] = '' -- those who were there are gone, and the limit with them
		call('ZADD', names, 0, name)
	end
else
	extend(reply, all)
end
call('ZADD', Q .. name, token, id)
call('HSET', D .. name, id, table.concat({ token, token, session, inbox, mode }, ' ') .. '\n' .. info .. '\n' .. value)
call('HSET', S .. session, 'e:' .. id, name)
changed(name)
return reply
