-- Tells what the server is: version, and what it does when it is out of memory.
ask()
return {
	'ok',
	string.match(server, 'redis_version:([^\r\n]*)'),
	string.match(call('INFO', 'memory'), 'maxmemory_policy:([^\r\n]*)'),
}
