-- Lists a session's entries: ARGV is session. The reply has ID, name and record of each.
if left(ARGV[1]) == 0 then return { 'lease' } end
local reply, fields = { 'ok' }, call('HGETALL', S .. ARGV[1])
for i = 1, #fields, 2 do
	local id = string.match(fields[i], '^e:(.*)')
	local record = id and lookup(fields[i + 1], id)
	if record then
		reply[#reply + 1] = fields[i + 1]
		reply[#reply + 1] = id
		reply[#reply + 1] = record
		reply[#reply + 1] = left(ARGV[1])
	end
end
return reply
