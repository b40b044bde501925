-- Breaks an entry: ARGV is name, ID, token, the mark, and 1 to remove it. The mark is a line
-- in a field of the session's, and so goes with that.
local name, id, token, mark, force = unpack(ARGV)
local record = lookup(name, id)
local its, _, session, inbox = head(record or '')
if its ~= token or left(session) == 0 then return { 'gone' } end
local lines = { id .. ' ' .. mark }
for line in string.gmatch(call('HGET', S .. session, 'marks') or '', '[^\n]+') do
	if string.match(line, '^%S+') ~= id then lines[#lines + 1] = line end
end
call('HSET', S .. session, 'marks', table.concat(lines, '\n'))
tell(inbox, session .. ' marked')
if force == '1' then remove(name, id) end
return { 'ok' }
