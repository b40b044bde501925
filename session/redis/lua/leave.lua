-- Removes an entry: ARGV is session, name, ID, token.
local _, name, id, token = unpack(ARGV)
remove(name, id, token)
return { 'ok' }
