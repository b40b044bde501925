-- Ends a session: ARGV is session, and the queues where it may have left entries, which it
-- does not know itself when it is over already.
local session = ARGV[1]
local inbox = call('HGET', S .. session, 'inbox')
local fields = call('HGETALL', S .. session)
call('DEL', S .. session)
alive[session], known[session] = false, 0
for i = 1, #fields, 2 do
	local id = string.match(fields[i], '^e:(.*)')
	if id then remove(fields[i + 1], id) end
end
for i = 2, #ARGV do live(ARGV[i], nil, 0) end
if inbox then tell(inbox, session .. ' over') end
return { 'ok' }
