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

UPDATE version SET layout = 2;
