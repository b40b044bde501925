-- Tells what the server says of itself, and its time.
local time = call('TIME')
return { 'ok', time[1], time[2], call('INFO', 'server', 'replication', 'memory', 'persistence') }
