-- Begins a session: ARGV is session, TTL in milliseconds, identity, inbox, and the reign
-- and the longest TTL that the client knows of, or "" and 0.
--
-- After a restart or a failover some of what was written may be missing, and those who
-- wrote it still hold. So nothing begins until the longest TTL has passed. Where nothing
-- tells what was here before, those who know are given the time to say so, from when they can.
local session, ttl, identity, inbox, knew, longest = unpack(ARGV)
ask()
local guard = call('HMGET', KEYS[1], 'run', 'quiet', 'ttl', 'blank')
local now = math.floor(micros() / 1000)
local second = math.floor(now / 1000)
local start = 1000 * (second - string.match(server, 'uptime_in_seconds:(%d+)') + 1) -- or within the second before
local quiet, most, blank = tonumber(guard[2] or 0), tonumber(guard[3] or 0), guard[4] or '0'
if guard[1] and guard[1] ~= reign then
	most = math.max(most, tonumber(ttl), tonumber(longest)) -- what was written last may be missing
	quiet, most = math.max(quiet, now + most), 0
elseif not guard[1] then
	quiet, most, blank = now + 2000, 0, '1'
end
if blank == '1' and knew ~= '' and knew ~= reign then
	quiet = math.max(quiet, start + longest)
end
if quiet <= now then most = math.max(most, tonumber(ttl)) end
call('HSET', KEYS[1], 'run', reign, 'quiet', string.format('%.0f', quiet), 'ttl', most, 'blank', blank)
if quiet > now then return { 'quiet', quiet - now, blank } end
call('HSET', S .. session, 'run', run, 'past', past, 'identity', identity, 'inbox', inbox)
call('PEXPIRE', S .. session, ttl)
return { 'ok', reign, most }
