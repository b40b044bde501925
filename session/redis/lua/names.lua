-- Lists names of queues: ARGV is a prefix, the name to begin behind or "", and how many.
local from, to = '-', '+'
if ARGV[1] ~= '' then from, to = '[' .. ARGV[1], '(' .. ARGV[1] .. '\255' end
if ARGV[2] ~= '' then from = '(' .. ARGV[2] end
return call('ZRANGE', names, from, to, 'BYLEX', 'LIMIT', 0, ARGV[3])
