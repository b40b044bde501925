-- Reads a queue: ARGV is name, and the number of entries, 0 for all.
reap(ARGV[1])
return append({ 'ok', limit(ARGV[1]) }, ARGV[1], 0, ARGV[2] - 1)
