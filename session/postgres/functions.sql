-- The functions, as they are in the latest layout: they are made or replaced with each
-- step to another. One that an earlier build calls stays, and does what it did. The name
-- "fairlead" is replaced by that of the namespace, here and in literals.
--
-- Every function that changes a queue first takes the queue's advisory lock, in a
-- statement of its own, and only then reads the queue or takes a number: at READ
-- COMMITTED each statement of a VOLATILE function has a snapshot of its own, which
-- so shows all that those did who had the lock before. Tokens are taken and made
-- visible in the same order for the same reason.
--
-- A session ends when its row is deleted, and not before: whoever finds that it
-- has expired locks the row and deletes it. A renewal that is under way has locked
-- it first, or finds it gone. So an entry counts as long as the row of its session
-- is there, and no longer.
--
-- What lets somebody in or promises something is on the disk before anybody relies on
-- it: a session, its renewal, an entry, a value, a limit, a settled claim, a mark. What removes
-- need not be: after a crash of the server an entry may be back that its owner has left,
-- and the owner removes it again. The log is written in the order of commits: when a
-- transaction that has written something is on the disk, so is whatever it has seen. NOTIFY
-- holds a lock of the whole database until its transaction is committed, so it never goes
-- with a durable one, but for that of queue_break.

CREATE OR REPLACE FUNCTION blank() RETURNS answer LANGUAGE sql IMMUTABLE AS $$
	SELECT ROW('', '', 0, '', 0, '', '', 0, '', '', '', 0, 0, 0, false, 0, false)::answer
$$;

CREATE OR REPLACE FUNCTION isolated() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF current_setting('transaction_isolation') <> 'read committed' THEN
		RAISE EXCEPTION 'fairlead needs transaction isolation "read committed", this is "%"', current_setting('transaction_isolation')
			USING ERRCODE = 'FL001';
	END IF;
END $$;

CREATE OR REPLACE FUNCTION enter(q text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF current_setting('transaction_isolation') <> 'read committed' THEN -- as a call takes longer
		PERFORM isolated();
	END IF;
	PERFORM pg_advisory_xact_lock(hashtextextended('fairlead' || '/' || q, 5261));
END $$;

-- Whatever the default of the server, the database or the role is.
CREATE OR REPLACE FUNCTION durably() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF current_setting('synchronous_commit') NOT IN ('on', 'remote_apply') THEN
		PERFORM set_config('synchronous_commit', 'on', true);
	END IF;
END $$;

-- Tells those who wait for the entry with token t. T: it is your turn, as nobody is
-- ahead any more, and never will be; L: look.
CREATE OR REPLACE FUNCTION tell(q text, t bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_notify(s.inbox, CASE WHEN w.mode = 'exclusive'
			AND NOT EXISTS (SELECT FROM entry x WHERE x.queue = w.queue AND x.token < w.token) THEN 'T' ELSE 'L' END || w.id)
		FROM entry w, LATERAL (SELECT x.inbox FROM session x WHERE x.id = w.session OFFSET 0) s
		WHERE w.waits_on = t AND s.inbox <> '';
	PERFORM pg_notify(s.inbox, 'L' || w.id)
		FROM entry w, LATERAL (SELECT x.inbox FROM session x WHERE x.id = w.session OFFSET 0) s
		WHERE w.waits_in = q AND t = ANY (w.waits_many) AND s.inbox <> '';
END $$;

CREATE OR REPLACE FUNCTION show(q text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_notify(o.inbox, 'O' || q) FROM observer o WHERE o.queue = q AND o.until > clock_timestamp();
END $$;

CREATE OR REPLACE FUNCTION session_open(s bigint, who text, box text, ms bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, "fairlead", pg_temp AS $$
BEGIN
	PERFORM isolated();
	PERFORM durably();
	INSERT INTO session (id, identity, inbox, ttl, since, expires_at)
		VALUES (s, who, box, ms, clock_timestamp(), clock_timestamp() + ms * interval '1 millisecond');
END $$;

-- The row is judged again if it was changed meanwhile. One that was evaluated in
-- time and is committed late had locked the row: nobody has declared it dead.
CREATE OR REPLACE FUNCTION session_renew(s bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, "fairlead", pg_temp
	SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
BEGIN
	PERFORM durably();
	UPDATE session x SET expires_at = clock_timestamp() + x.ttl * interval '1 millisecond'
		WHERE x.id = s AND x.expires_at > clock_timestamp();
	RETURN FOUND;
END $$;

CREATE OR REPLACE FUNCTION session_check(s bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, "fairlead", pg_temp
	SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
BEGIN
	RETURN EXISTS (SELECT FROM session x WHERE x.id = s AND x.expires_at > clock_timestamp());
END $$;

-- Ends a session, and returns the queues that it leaves entries in: gone, or busy
-- if a renewal or somebody's guarded transaction has the row locked.
CREATE OR REPLACE FUNCTION session_close(s bigint, OUT what text, OUT queues text[])
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, "fairlead", pg_temp
	SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
BEGIN
	PERFORM isolated();
	PERFORM durably();
	what := 'gone';
	PERFORM FROM session x WHERE x.id = s FOR UPDATE SKIP LOCKED;
	IF FOUND THEN
		UPDATE session x SET expires_at = '-infinity' WHERE x.id = s; -- so that the trigger keeps quiet
		DELETE FROM session x WHERE x.id = s;
		DELETE FROM settled x WHERE x.session = s;
	ELSIF EXISTS (SELECT FROM session x WHERE x.id = s) THEN
		what := 'busy';
	END IF;
	queues := ARRAY (SELECT DISTINCT e.queue FROM entry e WHERE e.session = s);
END $$;

-- Where somebody deletes the row of a session by hand, its owner and those who wait
-- for it are told at once.
CREATE OR REPLACE FUNCTION session_deleted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, "fairlead", pg_temp
	SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
BEGIN
	IF OLD.inbox <> '' THEN
		PERFORM pg_notify(OLD.inbox, 'G' || OLD.id);
	END IF;
	PERFORM tell(e.queue, e.token) FROM entry e WHERE e.session = OLD.id;
	PERFORM show(e.queue) FROM (SELECT DISTINCT e.queue FROM entry e WHERE e.session = OLD.id) e;
	RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION session_entries(s bigint) RETURNS TABLE (queue text, token bigint, id text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, "fairlead", pg_temp
	SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
BEGIN
	RETURN QUERY SELECT e.queue, e.token, e.id FROM entry e WHERE e.session = s;
END $$;

-- Appends an entry. seen is -1, or the number of entries and the highest version
-- that the caller has seen: then the entry is only made if the queue is still so.
--
-- With soon, the entry is committed before it is on the disk, so that the queue is not
-- locked for as long as that takes: it is appended, and joined only when queue_flush has
-- found it after that.
CREATE OR REPLACE FUNCTION queue_append(s bigint, q text, c text, k text, m text, v bytea, i text, lim bigint,
	seen bigint, seen_version bigint, seen_limit bigint, soon boolean) RETURNS SETOF answer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, "fairlead", pg_temp
	SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
	a answer := blank();
	l limits;
	near place;
	found_n bigint := -1;
	found_version bigint;
	first_mode text;
	void boolean;
BEGIN
	IF soon THEN
		PERFORM set_config('synchronous_commit', 'off', true);
	ELSE
		PERFORM durably();
	END IF;
	PERFORM enter(q);
	SELECT EXISTS (SELECT FROM settled x WHERE x.session = s AND x.id = c),
			EXISTS (SELECT FROM observer o WHERE o.queue = q AND o.until > clock_timestamp()), x.identity,
			ceil(extract(epoch FROM x.expires_at - clock_timestamp()) * 1000)
		INTO void, a.told, a.identity, a.ttl_left
		FROM session x WHERE x.id = s AND x.expires_at > clock_timestamp();
	IF NOT FOUND OR void THEN
		a := blank();
		a.what := CASE WHEN void THEN 'settled' ELSE 'lease' END;
		RETURN NEXT a;
		RETURN;
	END IF;
	IF lim > 0 OR seen >= 0 THEN
		SELECT count(*), coalesce(max(e.version), 0), (array_agg(e.mode ORDER BY e.token))[1]
			INTO found_n, found_version, first_mode FROM entry e WHERE e.queue = q;
	END IF;
	a.what := 'joined';
	IF lim > 0 AND found_n = 0 THEN
		l := ROW(q, lim, 0, false, 0)::limits;
	ELSIF found_n <> 0 AND (lim > 0 AND first_mode = 'permit' OR lim = 0 AND m = 'permit') THEN
		SELECT * INTO l FROM limits x WHERE x.queue = q;
	END IF;
	IF lim > 0 AND lim IS DISTINCT FROM l.n THEN
		a.what := 'limit';
	ELSIF seen >= 0 AND (seen <> found_n OR seen_version <> found_version
			OR found_n > 0 AND lim > 0 AND seen_limit <> l.version) THEN
		a.what := 'look';
	END IF;
	a.n := coalesce(l.n, 0);
	a.through := coalesce(l.through, 0);
	a.stamp := coalesce(l.stamp, false);
	a.limit_version := coalesce(l.version, 0);
	IF a.what <> 'joined' THEN
		RETURN NEXT a;
		RETURN QUERY SELECT 'entry', q, p.token, p.id, p.session, p.kind, p.mode, p.version, p.value, p.info, p.identity, p.ttl_left,
				0::bigint, 0::bigint, false, 0::bigint, false
			FROM place p WHERE p.queue = q ORDER BY p.token;
		RETURN;
	END IF;
	a.queue := q;
	a.token := nextval('token');
	a.id := c;
	a.session := s;
	a.kind := k;
	a.mode := m;
	a.version := a.token;
	IF lim > 0 AND found_n = 0 THEN
		a.limit_version := a.token;
		INSERT INTO limits AS x (queue, n, through, stamp, version) VALUES (q, lim, 0, false, a.token)
			ON CONFLICT (queue) DO UPDATE SET n = lim, through = 0, stamp = false, version = a.token;
	END IF;
	IF m = 'exclusive' THEN
		SELECT * INTO near FROM place p WHERE p.queue = q ORDER BY p.token DESC LIMIT 1;
	END IF;
	INSERT INTO entry (queue, token, id, session, kind, mode, version, value, info, waits_on)
		VALUES (q, a.token, c, s, k, m, a.token, v, i, near.token);
	IF soon THEN
		a.what := 'appended';
	END IF;
	RETURN NEXT a;
	IF near.token IS NOT NULL THEN
		a.what := 'entry';
		a.token := near.token;
		a.id := near.id;
		a.session := near.session;
		a.kind := near.kind;
		a.mode := near.mode;
		a.version := near.version;
		a.value := near.value;
		a.info := near.info;
		a.identity := near.identity;
		a.ttl_left := near.ttl_left;
		RETURN NEXT a;
	ELSIF m <> 'exclusive' THEN
		RETURN QUERY SELECT 'entry', q, p.token, p.id, p.session, p.kind, p.mode, p.version, p.value, p.info, p.identity, p.ttl_left,
				0::bigint, 0::bigint, false, 0::bigint, false
			FROM place p WHERE p.queue = q AND p.token < a.token ORDER BY p.token;
	END IF;
END $$;

-- The same without soon, for builds of the layouts before 3.
CREATE OR REPLACE FUNCTION queue_join(s bigint, q text, c text, k text, m text, v bytea, i text, lim bigint,
	seen bigint, seen_version bigint, seen_limit bigint) RETURNS SETOF answer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, "fairlead", pg_temp AS $$
BEGIN
	RETURN QUERY SELECT * FROM queue_append(s, q, c, k, m, v, i, lim, seen, seen_version, seen_limit, false);
END $$;

-- Has the entry of a claim on the disk when it returns, with all that was there when it was
-- made, and says so: the lock of a row is written to the log, so that the commit has something
-- to flush. Where the entry is not there any more, nothing may be on the disk: not even that its
-- token was taken.
CREATE OR REPLACE FUNCTION queue_flush(s bigint, c text) RETURNS SETOF answer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, "fairlead", pg_temp
	SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
	a answer := blank();
BEGIN
	PERFORM durably();
	PERFORM FROM entry e WHERE e.session = s AND e.id = c FOR KEY SHARE;
	IF FOUND THEN
		a.what := 'flushed';
		RETURN NEXT a;
	END IF;
END $$;

-- The queue up to the entry with token t, with the limit, in one snapshot and in no
-- order: for an exclusive entry that and the nearest one ahead.
CREATE OR REPLACE FUNCTION view_from(q text, t bigint, ex boolean) RETURNS SETOF answer LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY SELECT 'entry', q, p.token, p.id, p.session, p.kind, p.mode, p.version, p.value, p.info, p.identity, p.ttl_left,
			coalesce(l.n, 0), coalesce(l.through, 0), coalesce(l.stamp, false), coalesce(l.version, 0), false
		FROM (SELECT * FROM place e WHERE e.queue = q AND e.token <= t ORDER BY e.token DESC LIMIT CASE WHEN ex THEN 2 END) p
			LEFT JOIN LATERAL (SELECT * FROM limits x WHERE x.queue = q OFFSET 0) l ON true;
END $$;

-- Looks at the queue from an entry. Where all of the obstacles, and the limit
-- unless lv is -1, are as the caller knows them, the answer is blocked. With
-- register, the caller is told of what happens next: to the obstacles or, with
-- relink, to the nearest entry ahead if they are not there any more.
CREATE OR REPLACE FUNCTION queue_look(q text, t bigint, c text, ex boolean, ons bigint[], versions bigint[], lv bigint,
	register boolean, reg bigint[], reg_limit boolean, relink boolean) RETURNS SETOF answer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, "fairlead", pg_temp
	SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
	a answer := blank();
	same bigint;
	one boolean := cardinality(reg) = 1 AND NOT reg_limit;
BEGIN
	IF register THEN
		PERFORM set_config('synchronous_commit', 'off', true);
		PERFORM enter(q);
	END IF;
	IF cardinality(ons) > 0 OR lv >= 0 THEN
		SELECT count(*), coalesce(min(p.ttl_left), 3600000) INTO same, a.ttl_left
			FROM unnest(ons, versions) o (token, version),
				LATERAL (SELECT * FROM place x WHERE x.queue = q AND x.token = o.token OFFSET 0) p
			WHERE p.version = o.version;
		IF same = cardinality(ons) AND (lv < 0 OR lv = coalesce((SELECT l.version FROM limits l WHERE l.queue = q), 0)) THEN
			IF register THEN
				UPDATE entry e SET waits_on = CASE WHEN one THEN reg[1] END, waits_many = CASE WHEN NOT one THEN reg END, waits_limit = reg_limit
					WHERE e.queue = q AND e.token = t AND e.id = c;
			END IF;
			PERFORM FROM entry e JOIN session x ON x.id = e.session
				WHERE e.queue = q AND e.token = t AND e.id = c;
			a.what := CASE WHEN FOUND THEN 'blocked' ELSE 'gone' END;
			RETURN NEXT a;
			RETURN;
		END IF;
	END IF;
	IF register AND relink THEN
		UPDATE entry w SET waits_on = n.token, waits_many = NULL, waits_limit = false
			FROM (SELECT max(e.token) AS token FROM entry e WHERE e.queue = q AND e.token < t) n
			WHERE w.queue = q AND w.token = t AND w.id = c AND n.token IS NOT NULL AND w.waits_on IS DISTINCT FROM n.token;
	END IF;
	RETURN QUERY SELECT * FROM view_from(q, t, ex);
END $$;

-- Settles a claim: the view from its entry, if that was made; else it never will
-- be. With always it will never be made again either.
CREATE OR REPLACE FUNCTION queue_settle(s bigint, q text, c text, ex boolean, always boolean) RETURNS SETOF answer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, "fairlead", pg_temp
	SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
	a answer := blank();
	t bigint;
BEGIN
	PERFORM durably();
	PERFORM enter(q);
	PERFORM FROM session x WHERE x.id = s AND x.expires_at > clock_timestamp();
	IF NOT FOUND THEN
		a.what := 'lease';
		RETURN NEXT a;
		RETURN;
	END IF;
	-- Locked, so that it is on the disk when this is committed, as in queue_flush.
	SELECT e.token INTO t FROM entry e WHERE e.session = s AND e.id = c FOR KEY SHARE;
	IF t IS NULL OR always THEN
		INSERT INTO settled (session, id, since) VALUES (s, c, clock_timestamp()) ON CONFLICT DO NOTHING;
	END IF;
	IF t IS NULL THEN
		a.what := 'gone';
		RETURN NEXT a;
		RETURN;
	END IF;
	RETURN QUERY SELECT * FROM view_from(q, t, ex);
END $$;

-- Removes an entry: left, gone if it was not there, or busy while somebody's guarded
-- transaction has it locked: to wait for that would keep the whole queue waiting.
CREATE OR REPLACE FUNCTION queue_leave(s bigint, q text, t bigint, c text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, "fairlead", pg_temp
	SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
	m text;
	owner bigint;
BEGIN
	PERFORM set_config('synchronous_commit', 'off', true);
	PERFORM enter(q);
	SELECT e.mode, e.session INTO m, owner FROM entry e
		WHERE e.queue = q AND e.token = t AND e.id = c FOR UPDATE SKIP LOCKED;
	IF NOT FOUND THEN
		PERFORM FROM entry e WHERE e.queue = q AND e.token = t AND e.id = c;
		RETURN CASE WHEN FOUND THEN 'busy' ELSE 'gone' END;
	END IF;
	DELETE FROM entry e WHERE e.queue = q AND e.token = t;
	IF m = 'permit' THEN
		DELETE FROM limits l WHERE l.queue = q AND NOT EXISTS (SELECT FROM entry e WHERE e.queue = q);
	END IF;
	PERFORM tell(q, t);
	PERFORM show(q);
	IF owner <> s THEN
		PERFORM pg_notify(x.inbox, 'L' || c) FROM session x WHERE x.id = owner AND x.inbox <> '';
	END IF;
	RETURN 'left';
END $$;

-- Replaces the value, unless a later update was here first. told says that
-- queue_tell is to follow.
CREATE OR REPLACE FUNCTION queue_update(q text, t bigint, c text, number bigint, v bytea) RETURNS SETOF answer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, "fairlead", pg_temp
	SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
	a answer := blank();
	before bigint;
BEGIN
	PERFORM durably();
	PERFORM enter(q);
	SELECT e.updates INTO before FROM entry e
		WHERE e.queue = q AND e.token = t AND e.id = c AND EXISTS (SELECT FROM session x WHERE x.id = e.session)
		FOR NO KEY UPDATE SKIP LOCKED;
	IF NOT FOUND THEN
		PERFORM FROM place p WHERE p.queue = q AND p.token = t AND p.id = c AND p.ttl_left >= 0;
		a.what := CASE WHEN FOUND THEN 'busy' ELSE 'gone' END;
		RETURN NEXT a;
		RETURN;
	END IF;
	IF number > before THEN
		UPDATE entry e SET value = v, version = nextval('token'), updates = number WHERE e.queue = q AND e.token = t;
	END IF;
	RETURN QUERY SELECT 'entry', q, p.token, p.id, p.session, p.kind, p.mode, p.version, p.value, p.info, p.identity, p.ttl_left,
			0::bigint, 0::bigint, false, 0::bigint,
			EXISTS (SELECT FROM entry w WHERE w.waits_on = t)
				OR EXISTS (SELECT FROM entry w WHERE w.waits_in = q)
				OR EXISTS (SELECT FROM observer o WHERE o.queue = q AND o.until > clock_timestamp())
		FROM place p WHERE p.queue = q AND p.token = t;
END $$;

CREATE OR REPLACE FUNCTION queue_limit(q text, seen bigint, to_n bigint, to_through bigint, to_stamp boolean) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, "fairlead", pg_temp
	SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
BEGIN
	PERFORM durably();
	PERFORM enter(q);
	UPDATE limits l SET n = to_n, through = to_through, stamp = to_stamp, version = nextval('token')
		WHERE l.queue = q AND l.version = seen
			AND (SELECT e.mode FROM entry e WHERE e.queue = q ORDER BY e.token LIMIT 1) = 'permit';
	RETURN FOUND;
END $$;

-- Tells of a change that was committed before: of the entry with token t, of the
-- limit if t is 0, or of a new entry, to those who look on, if t is -1.
CREATE OR REPLACE FUNCTION queue_tell(q text, t bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, "fairlead", pg_temp
	SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
BEGIN
	PERFORM set_config('synchronous_commit', 'off', true);
	IF t > 0 THEN
		PERFORM tell(q, t);
	ELSIF t = 0 THEN
		PERFORM pg_notify(s.inbox, 'L' || w.id)
			FROM entry w, LATERAL (SELECT x.inbox FROM session x WHERE x.id = w.session OFFSET 0) s
			WHERE w.waits_in = q AND w.waits_limit AND s.inbox <> '';
	END IF;
	PERFORM show(q);
END $$;

CREATE OR REPLACE FUNCTION queue_read(q text, most bigint) RETURNS SETOF answer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, "fairlead", pg_temp
	SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
BEGIN
	RETURN QUERY SELECT 'entry', q, p.token, p.id, p.session, p.kind, p.mode, p.version, p.value, p.info, p.identity, p.ttl_left,
			coalesce(l.n, 0), coalesce(l.through, 0), coalesce(l.stamp, false), coalesce(l.version, 0), false
		FROM (SELECT * FROM place e WHERE e.queue = q ORDER BY e.token LIMIT nullif(most, 0)) p
			LEFT JOIN LATERAL (SELECT * FROM limits x WHERE x.queue = q OFFSET 0) l ON true;
END $$;

CREATE OR REPLACE FUNCTION queue_list(prefix text) RETURNS SETOF answer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, "fairlead", pg_temp AS $$
BEGIN
	RETURN QUERY SELECT 'entry', p.queue, p.token, p.id, p.session, p.kind, p.mode, p.version, p.value, p.info, p.identity, p.ttl_left,
			coalesce(l.n, 0), coalesce(l.through, 0), coalesce(l.stamp, false), coalesce(l.version, 0), false
		FROM place p LEFT JOIN limits l ON l.queue = p.queue
		WHERE p.queue >= prefix AND p.queue <= prefix || repeat(chr(1114111), 8) AND starts_with(p.queue, prefix)
		ORDER BY p.queue, p.token;
END $$;

-- Ends the sessions that have expired and have entries in one of the queues,
-- removes there what sessions have left that ended, and returns the other queues
-- in which those have entries. Whoever is just being renewed, or has a guarded
-- transaction under way, is passed over. The locks are taken in one order by all.
CREATE OR REPLACE FUNCTION queue_reap(queues text[]) RETURNS text[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, "fairlead", pg_temp
	SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
	dead bigint[];
	r record;
BEGIN
	PERFORM set_config('synchronous_commit', 'off', true);
	FOR r IN SELECT x.q FROM (SELECT DISTINCT q FROM unnest(queues) q) x ORDER BY hashtextextended('fairlead' || '/' || x.q, 5261) LOOP
		PERFORM enter(r.q);
	END LOOP;
	SELECT array_agg(x.id) INTO dead FROM (
		SELECT s.id FROM session s
		WHERE s.id IN (SELECT e.session FROM entry e WHERE e.queue = ANY (queues)) AND s.expires_at <= clock_timestamp()
		FOR UPDATE SKIP LOCKED
	) x;
	DELETE FROM session s WHERE s.id = ANY (dead);
	DELETE FROM settled x WHERE x.session = ANY (dead);
	FOR r IN DELETE FROM entry e WHERE e.queue = ANY (queues) AND NOT EXISTS (SELECT FROM session s WHERE s.id = e.session)
		RETURNING e.queue, e.token
	LOOP -- all of them are deleted by now
		PERFORM tell(r.queue, r.token);
		PERFORM show(r.queue);
	END LOOP;
	DELETE FROM limits l WHERE l.queue = ANY (queues) AND NOT EXISTS (SELECT FROM entry e WHERE e.queue = l.queue);
	RETURN ARRAY (SELECT DISTINCT e.queue FROM entry e WHERE e.session = ANY (dead));
END $$;

-- Removes what is left over and has no queue, and returns the queues where
-- something is to be reaped.
CREATE OR REPLACE FUNCTION sweep() RETURNS text[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, "fairlead", pg_temp AS $$
BEGIN
	PERFORM set_config('synchronous_commit', 'off', true);
	DELETE FROM session s WHERE s.id IN (
		SELECT x.id FROM session x WHERE x.expires_at <= clock_timestamp() AND NOT EXISTS (SELECT FROM entry e WHERE e.session = x.id)
		FOR UPDATE SKIP LOCKED
	);
	DELETE FROM settled x WHERE NOT EXISTS (SELECT FROM session s WHERE s.id = x.session) OR x.since < clock_timestamp() - interval '1 day';
	DELETE FROM observer o WHERE o.until < clock_timestamp() - interval '1 minute';
	RETURN ARRAY (SELECT DISTINCT p.queue FROM place p WHERE p.ttl_left <= 0);
END $$;

-- Enters an observer for so long, or removes it if ms is 0. Changes that did not see it have
-- been committed, and are shown by who reads the queue now: it is locked, as for a change.
CREATE OR REPLACE FUNCTION observe(q text, box text, ms bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, "fairlead", pg_temp
	SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
BEGIN
	PERFORM set_config('synchronous_commit', 'off', true);
	IF ms = 0 THEN
		DELETE FROM observer o WHERE o.queue = q AND o.inbox = box;
	ELSE
		UPDATE observer o SET until = clock_timestamp() + ms * interval '1 millisecond'
			WHERE o.queue = q AND o.inbox = box AND o.until > clock_timestamp() + interval '1 second';
		IF FOUND THEN -- all changes see it, also those that see it as it was until this is committed
			RETURN;
		END IF;
		PERFORM enter(q);
		INSERT INTO observer AS o (queue, inbox, until) VALUES (q, box, clock_timestamp() + ms * interval '1 millisecond')
			ON CONFLICT ON CONSTRAINT observer_pkey DO UPDATE SET until = excluded.until;
	END IF;
END $$;

-- Locks an entry, and its session, until the end of the caller's transaction, which
-- fails if they are not there. The session's renewal goes on under this lock. Where the whole
-- transaction has one snapshot, they may have been made since that was taken.
CREATE OR REPLACE FUNCTION guard(q text, t bigint, c text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, "fairlead", pg_temp
	SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
	owner bigint;
BEGIN
	SELECT e.session INTO owner FROM entry e WHERE e.queue = q AND e.token = t AND e.id = c;
	IF FOUND THEN
		PERFORM FROM session x WHERE x.id = owner AND x.expires_at > clock_timestamp() FOR KEY SHARE;
	END IF;
	IF FOUND THEN
		PERFORM FROM entry e WHERE e.queue = q AND e.token = t AND e.id = c FOR SHARE;
	END IF;
	IF NOT FOUND AND current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
		RAISE EXCEPTION 'the entry % of queue "%" cannot be seen from this transaction: run it again', t, q USING ERRCODE = '40001';
	ELSIF NOT FOUND THEN
		RAISE EXCEPTION 'the entry % of queue "%" is gone', t, q USING ERRCODE = 'FL002';
	END IF;
END $$;

-- Leaves a mark for the owner of an entry and, with force, removes that: marked, gone if
-- it was not there, or busy while somebody's guarded transaction has it locked. It is on the
-- disk when it returns: where a crash took back the removal and the mark, the owner would hold
-- on, beside who was let in. It is rare enough for its notifications to go along.
CREATE OR REPLACE FUNCTION queue_break(q text, t bigint, c text, who text, why text, force boolean) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, "fairlead", pg_temp
	SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
	owner bigint;
	m text;
BEGIN
	PERFORM durably();
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
CREATE OR REPLACE FUNCTION session_state(s bigint) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, "fairlead", pg_temp
	SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
BEGIN
	RETURN CASE
		WHEN NOT EXISTS (SELECT FROM session x WHERE x.id = s AND x.expires_at > clock_timestamp()) THEN 'gone'
		WHEN EXISTS (SELECT FROM mark x WHERE x.session = s) THEN 'marked'
		ELSE 'alive' END;
END $$;

CREATE OR REPLACE FUNCTION session_marks(s bigint) RETURNS TABLE (id text, who text, reason text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, "fairlead", pg_temp
	SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
BEGIN
	RETURN QUERY SELECT x.id, x.who, x.reason FROM mark x WHERE x.session = s ORDER BY x.id;
END $$;

CREATE OR REPLACE FUNCTION session_clear(s bigint, c text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, "fairlead", pg_temp
	SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
BEGIN
	PERFORM set_config('synchronous_commit', 'off', true);
	DELETE FROM mark x WHERE x.session = s AND x.id = c;
END $$;
