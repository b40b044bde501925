-- Removes an entry: ARGV is session, name, ID, token.
local session, name, id, token = unpack(ARGV)
local record = call('HGET', D .. name, id)
if record and (string.match(record, '^%d+') or token) == token then remove(name, id, record) end
return { 'ok' }
