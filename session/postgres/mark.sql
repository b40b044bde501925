-- Layout 2: entries that somebody breaks. A mark tells the owner of one so; it goes with
-- the owner's session. Builds that understand layout 1 may use this one as well: they
-- obey no mark.
CREATE TABLE mark (
	session bigint NOT NULL REFERENCES session ON DELETE CASCADE,
	id      text COLLATE "C" NOT NULL, -- of the entry
	who     text NOT NULL,
	reason  text NOT NULL,
	PRIMARY KEY (session, id)
);

-- Leaves a mark for the owner of an entry and, with force, removes that: marked, gone if
-- it was not there, or busy while somebody's guarded transaction has it locked. The mark
-- is about a removal, and so is not committed durably: a crash of the server may lose it.
CREATE FUNCTION queue_break(q text, t bigint, c text, who text, why text, force boolean) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, "fairlead", pg_temp
	SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
	owner bigint;
	m text;
BEGIN
	PERFORM set_config('synchronous_commit', 'off', true);
	PERFORM enter(q);
	SELECT e.session, e.mode INTO owner, m FROM entry e WHERE e.queue = q AND e.token = t AND e.id = c;
	IF FOUND THEN -- so that it is there until the mark is
		PERFORM FROM session x WHERE x.id = owner FOR KEY SHARE;
	END IF;
	IF NOT FOUND THEN
		RETURN 'gone';
	END IF;
	IF force THEN
		PERFORM FROM entry e WHERE e.queue = q AND e.token = t AND e.id = c FOR UPDATE SKIP LOCKED;
		IF NOT FOUND THEN
			RETURN 'busy';
		END IF;
	END IF;
	INSERT INTO mark AS x (session, id, who, reason) VALUES (owner, c, queue_break.who, why)
		ON CONFLICT ON CONSTRAINT mark_pkey DO UPDATE SET who = excluded.who, reason = excluded.reason;
	PERFORM pg_notify(x.inbox, 'G' || owner) FROM session x WHERE x.id = owner AND x.inbox <> '';
	IF force THEN
		DELETE FROM entry e WHERE e.queue = q AND e.token = t;
		IF m = 'permit' THEN
			DELETE FROM limits l WHERE l.queue = q AND NOT EXISTS (SELECT FROM entry e WHERE e.queue = q);
		END IF;
		PERFORM tell(q, t);
		PERFORM show(q);
		PERFORM pg_notify(x.inbox, 'L' || c) FROM session x WHERE x.id = owner AND x.inbox <> '';
	END IF;
	RETURN 'marked';
END $$;

-- How a session is: gone, alive, or marked where there are marks for entries of it.
CREATE FUNCTION session_state(s bigint) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, "fairlead", pg_temp
	SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
BEGIN
	RETURN CASE
		WHEN NOT EXISTS (SELECT FROM session x WHERE x.id = s AND x.expires_at > clock_timestamp()) THEN 'gone'
		WHEN EXISTS (SELECT FROM mark x WHERE x.session = s) THEN 'marked'
		ELSE 'alive' END;
END $$;

CREATE FUNCTION session_marks(s bigint) RETURNS TABLE (id text, who text, reason text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, "fairlead", pg_temp
	SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
BEGIN
	RETURN QUERY SELECT x.id, x.who, x.reason FROM mark x WHERE x.session = s ORDER BY x.id;
END $$;

CREATE FUNCTION session_clear(s bigint, c text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, "fairlead", pg_temp
	SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
BEGIN
	PERFORM set_config('synchronous_commit', 'off', true);
	DELETE FROM mark x WHERE x.session = s AND x.id = c;
END $$;

UPDATE version SET layout = 2;
