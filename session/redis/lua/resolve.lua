-- Settles a claim of unknown outcome: ARGV is session, name, ID, and 1 to withdraw it. If
-- there is no entry, there will be none.

-- Marks a claim as withdrawn, in case its join arrives yet. When there are many of those marks,
-- all are cleared, and another epoch begins: joins that were sent before are refused from here
-- on, whatever they claim.
local function mark(session, id)
	local n = 1 + (call('HGET', S .. session, 'withdrawn') or 0)
	call('HSET', S .. session, 'x:' .. id, '', 'withdrawn', n)
	if n % marksPerEpoch > 0 then return end
	local fields, marks = call('HGETALL', S .. session), {}
	for i = 1, #fields, 2 do
		if string.match(fields[i], '^x:') then marks[#marks + 1] = fields[i] end
	end
	call('HDEL', S .. session, unpack(marks))
end

local session, name, id, withdraw = unpack(ARGV)
if left(session) == 0 then return { 'lease' } end
local found = lookup(name, id)
if withdraw == '1' or not found then
	mark(session, id)
	if call('HEXISTS', D .. name, id) == 1 then remove(name, id) end
	return { 'gone' }
end
call('HSET', S .. session, 'e:' .. id, name) -- as it is: a write, whose replication can be waited for
return view(name, id, '')
