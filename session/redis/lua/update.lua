-- Replaces an entry's value: ARGV is session, name, ID, token, version, value. If the
-- version is another, the reply is the present record.
local session, name, id, token, version, value = unpack(ARGV)
if left(session) == 0 then return { 'lease' } end
local record = lookup(name, id)
if not record then return { 'gone' } end
local its, now, owner, inbox, mode = head(record)
if its ~= token then return { 'gone' } end
if now ~= version then return { 'version', id, record, left(owner) } end
local next = tick()
local info = string.match(record, '^[^\n]*\n([^\n]*)\n')
record = table.concat({ its, next, owner, inbox, mode }, ' ') .. '\n' .. info .. '\n' .. value
call('HSET', D .. name, id, record)
wake(name, id)
changed(name)
return { 'ok', id, record, left(owner) }
