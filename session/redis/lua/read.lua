-- Reads a queue: ARGV is name, and the number of entries, 0 for all.
local found = live(ARGV[1], nil, tonumber(ARGV[2]))
if #found == 0 and call('EXISTS', Q .. ARGV[1]) == 0 then call('ZREM', names, ARGV[1]) end -- it should not be there
return extend({ 'ok', limit(ARGV[1]) }, found)
