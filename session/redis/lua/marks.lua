-- Lists the marks for entries of a session: ARGV is session, and the ID of one to clear
-- first, or "".
local session, id = unpack(ARGV)
if left(session) == 0 then return { 'lease' } end
local reply = { 'ok' }
for line in string.gmatch(call('HGET', S .. session, 'marks') or '', '[^\n]+') do
	if string.match(line, '^%S+') ~= id then reply[#reply + 1] = line end
end
if id ~= '' and #reply == 1 then
	call('HDEL', S .. session, 'marks')
elseif id ~= '' then
	call('HSET', S .. session, 'marks', table.concat(reply, '\n', 2))
end
return reply
