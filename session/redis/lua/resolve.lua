-- Settles a claim of unknown outcome: ARGV is session, name, ID, and 1 to withdraw it. If
-- there is no entry, there will be none.
local session, name, id, withdraw = unpack(ARGV)
if left(session) == 0 then return { 'lease' } end
local found = lookup(name, id)
if withdraw == '1' or not found then
	call('HSET', S .. session, 'x:' .. id, '')
	if call('HEXISTS', D .. name, id) == 1 then remove(name, id) end
	return { 'gone' }
end
call('HSET', S .. session, 'e:' .. id, name) -- as it is: a write, whose replication can be waited for
return view(name, id, '')
