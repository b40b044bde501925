-- Prolongs a session: ARGV is session, TTL in milliseconds. With a TTL of 0 it only
-- tells whether the session lives.
if left(ARGV[1]) == 0 then return { 'lease' } end
if ARGV[2] ~= '0' then call('PEXPIRE', S .. ARGV[1], ARGV[2]) end
return { 'ok' }
