-- Layout 1 of the tables; the functions are in functions.sql. It runs in one
-- transaction, with the schema as its search path; the name "fairlead" is replaced by
-- that of the namespace, here and in literals.

CREATE SEQUENCE token AS bigint CACHE 1;

CREATE TABLE session (
	id         bigint PRIMARY KEY,
	identity   text NOT NULL,
	inbox      text NOT NULL,   -- the channel that its store listens to; '': it polls
	ttl        bigint NOT NULL, -- in milliseconds
	since      timestamptz NOT NULL,
	expires_at timestamptz NOT NULL -- without an index, so that renewals stay within their page
) WITH (fillfactor = 50, vacuum_truncate = false, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

CREATE TABLE entry (
	queue       text COLLATE "C" NOT NULL,
	token       bigint NOT NULL,
	id          text COLLATE "C" NOT NULL, -- of the claim
	session     bigint NOT NULL,
	kind        text NOT NULL,
	mode        text COLLATE "C" NOT NULL,
	version     bigint NOT NULL,           -- changes with the value
	updates     bigint NOT NULL DEFAULT 0, -- its owner's number of the latest update
	value       bytea NOT NULL,
	info        text NOT NULL,
	waits_on    bigint,                    -- the token of the entry whose leaving its owner is to be told of
	waits_many  bigint[],                  -- or those of several, or of none but the limit
	waits_limit boolean NOT NULL DEFAULT false,
	waits_in    text COLLATE "C" GENERATED ALWAYS AS (CASE WHEN waits_many IS NOT NULL THEN queue END) STORED,
	PRIMARY KEY (queue, token)
) WITH (fillfactor = 70, vacuum_truncate = false, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

CREATE UNIQUE INDEX entry_claim ON entry (session, id);
CREATE INDEX entry_waits_on ON entry (waits_on) WHERE waits_on IS NOT NULL;
CREATE INDEX entry_waits_in ON entry (waits_in) WHERE waits_in IS NOT NULL;

-- It counts while the first entry of the queue is a permit.
CREATE TABLE limits (
	queue   text COLLATE "C" PRIMARY KEY,
	n       bigint NOT NULL,
	through bigint NOT NULL,
	stamp   boolean NOT NULL,
	version bigint NOT NULL
);

-- Claims whose entry must not be made any more, however late it is asked for.
CREATE TABLE settled (
	session bigint NOT NULL,
	id      text COLLATE "C" NOT NULL,
	since   timestamptz NOT NULL,
	PRIMARY KEY (session, id)
);

-- Who looks on, and is to be told of changes. A crash empties it, and ends the
-- connections of those who are in it: they enter themselves again.
CREATE UNLOGGED TABLE observer (
	queue text COLLATE "C" NOT NULL,
	inbox text NOT NULL,
	until timestamptz NOT NULL,
	PRIMARY KEY (queue, inbox)
);

-- Entries as others see them. ttl_left is in milliseconds: 0 where the session has
-- expired, and may be about to be renewed all the same; -1 where it has ended. It is as
-- of the beginning of the request, which may have waited for the lock since: that is
-- good enough to know when to look again, and a volatile function would have the whole
-- queue read, and sorted, for its last entry.
CREATE VIEW place AS
	SELECT e.queue, e.token, e.id, e.session, e.kind, e.mode, e.version, e.value, e.info,
		coalesce(s.identity, '') AS identity,
		CASE WHEN s.id IS NULL THEN -1
			ELSE greatest(0, ceil(extract(epoch FROM s.expires_at - statement_timestamp()) * 1000))::bigint END AS ttl_left
	FROM entry e LEFT JOIN LATERAL (SELECT * FROM session x WHERE x.id = e.session OFFSET 0) s ON true;

-- A row of what functions answer. The first may be about the call as a whole, then
-- come entries; n and what follows is the limit of the queue.
CREATE TYPE answer AS (
	what text, queue text, token bigint, id text, session bigint, kind text, mode text, version bigint,
	value bytea, info text, identity text, ttl_left bigint,
	n bigint, through bigint, stamp boolean, limit_version bigint,
	told boolean -- somebody is to be told of the change
);

-- Its body is in functions.sql, as that of all others.
CREATE FUNCTION session_deleted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;

CREATE TRIGGER session_deleted AFTER DELETE ON session
	FOR EACH ROW WHEN (OLD.expires_at > clock_timestamp()) EXECUTE FUNCTION session_deleted();
