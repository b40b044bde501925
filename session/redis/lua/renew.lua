-- Prolongs a session: ARGV is session, TTL in milliseconds. With a TTL of 0 it only
-- tells whether the session lives. The reply says if there are marks.
if left(ARGV[1]) == 0 then return { 'lease' } end
if ARGV[2] ~= '0' then
	call('PEXPIRE', S .. ARGV[1], ARGV[2])
elseif call('HEXISTS', S .. ARGV[1], 'marks') == 1 then
	return { 'ok', 'marked' }
end
return { 'ok' }
