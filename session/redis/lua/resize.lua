-- Sets the limit of a queue: ARGV is name, the version that it must have, and N, through,
-- stamp.
local name, version, n, through, stamp = unpack(ARGV)
live(name, nil, 0)
if (string.match(limit(name), '%d+$') or '0') ~= version or version == '0' then return { 'conflict' } end
call('HSET', D .. name, 'limit', table.concat({ n, through, stamp, tick() }, ' '))
wake(name, 'limit')
changed(name)
return { 'ok' }
