-- Detection in the database: what a significant change is, and where it waits for the relay.
--
-- One statement-level trigger per statement kind judges all rows of a statement at once. It locks the rows of
-- realtime.last_price or realtime.subject in the order of their ids until the commit, so the order of versions is the order
-- of commits.
-- Significant changes go into one of two outbox tables, in the same transaction. The tables are only inserted into,
-- and emptied by TRUNCATE: nothing is deleted, so nothing bloats.

CREATE SCHEMA realtime;
COMMENT ON SCHEMA realtime IS 'Changes of TVL, prices and protocols on their way to the event processor.';

-- Thresholds ----------------------------------------------------------------------------------------------------------

CREATE TABLE realtime.threshold (
  kind text NOT NULL CHECK (kind IN ('tvl', 'price')),
  id text NOT NULL DEFAULT '',
  percent numeric NOT NULL CHECK (percent > 0 AND percent < 'Infinity'),
  absolute numeric NOT NULL CHECK (absolute > 0 AND absolute < 'Infinity'),
  PRIMARY KEY (kind, id)
);
COMMENT ON TABLE realtime.threshold IS
  'A change is significant from percent (%) or absolute (USD) on, inclusive. id is a protocol or token; the row with id '''' is the default of its kind. In effect with the next statement.';
INSERT INTO realtime.threshold VALUES ('tvl', '', 1, 10000), ('price', '', 0.1, 0.01);

-- State ---------------------------------------------------------------------------------------------------------------

-- Their rows grow with the second row of a subject, and are then as long as ever. A page has room for two versions of each, so
-- that an update changes no index.
CREATE TABLE realtime.last_price (
  version bigint NOT NULL DEFAULT 1,
  at bigint NOT NULL,
  occurrence integer NOT NULL DEFAULT 0,
  id text COLLATE "C" PRIMARY KEY,
  value numeric NOT NULL,
  previous_at bigint,
  previous numeric
) WITH (fillfactor = 40);
COMMENT ON TABLE realtime.last_price IS
  'The last price of each token, USD: what its next one is compared with. version grows with each row; at is the data time, ms since 1970; occurrence: how many rows with the same data time were before. previous_…: the same before the last row, so that one statement replaces a row and returns what it was. A table of its own, for most rows are prices.';

CREATE TABLE realtime.subject (
  kind text NOT NULL CHECK (kind IN ('tvl', 'protocol')),
  id text COLLATE "C" NOT NULL,
  version bigint NOT NULL DEFAULT 1,
  at bigint NOT NULL,
  previous_at bigint,
  occurrence integer NOT NULL DEFAULT 0,
  removals integer NOT NULL DEFAULT 0,
  removals_at bigint,
  fields jsonb,
  previous_fields jsonb,
  PRIMARY KEY (kind, id)
) WITH (fillfactor = 40);
COMMENT ON TABLE realtime.subject IS
  'The last row of each protocol, of its TVL (the values are in realtime.part) and of its metadata (fields). The columns are those of realtime.last_price, and removals: how many statements removed chains before, with the data time removals_at.';

CREATE TABLE realtime.part (
  id text COLLATE "C" NOT NULL,
  chain text COLLATE "C" NOT NULL,
  at bigint NOT NULL,
  previous_at bigint,
  occurrence integer NOT NULL DEFAULT 0,
  value numeric NOT NULL,
  previous numeric,
  PRIMARY KEY (id, chain)
) WITH (fillfactor = 40);
COMMENT ON TABLE realtime.part IS
  'The last TVL of a protocol, USD: on each chain, and in total under the empty chain.';

-- Outbox --------------------------------------------------------------------------------------------------------------

CREATE TABLE realtime.outbox (
  slot smallint NOT NULL,
  xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  lane smallint NOT NULL,
  kind text NOT NULL,
  id text NOT NULL,
  version bigint NOT NULL,
  at bigint NOT NULL,
  created bigint NOT NULL,
  silent boolean NOT NULL,
  body jsonb NOT NULL
) PARTITION BY LIST (slot);
CREATE TABLE realtime.outbox_0 PARTITION OF realtime.outbox FOR VALUES IN (0);
CREATE TABLE realtime.outbox_1 PARTITION OF realtime.outbox FOR VALUES IN (1);
CREATE INDEX ON realtime.outbox (xid);
COMMENT ON TABLE realtime.outbox IS
  'slot: writers insert into one partition while the relay empties the other. Significant changes, one row for each row of a protocol or token. lane is a hash of the subject; at and created are ms since 1970; silent: update caches, make no events. body: of a price {"value", "previous", "previousAt", "percent", "absolute": thresholds in effect, "occurrence", "extra": other columns}; of TVL {"parts": {chain or empty: [value, previous, previous data time, occurrence]}, "known": was the protocol known, "gone": {removed chain: [value, data time, occurrence]}, "percent", "absolute"}; of a protocol {"fields", "previous", "occurrence"}. Rows of one subject are in the order of version, then at.';

CREATE TABLE realtime.outbox_state (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  active smallint NOT NULL DEFAULT 0 CHECK (active IN (0, 1)),
  asleep_until timestamptz NOT NULL DEFAULT '-infinity',
  switched timestamptz NOT NULL DEFAULT now(),
  history_ms bigint NOT NULL DEFAULT 90000000,
  protocol_history_ms bigint NOT NULL DEFAULT 604800000
);
COMMENT ON TABLE realtime.outbox_state IS
  'active: the slot that writers insert into. asleep_until: until then a relay waits for a NOTIFY on the channel realtime. A relay that dies in its sleep leaves no doorbell that rings for ever. switched: when active changed last. history_ms: a row whose data time is older than this is history, and as late as one that is older than the last row (25 h; of protocols 7 days). Filling in history is no news.';
INSERT INTO realtime.outbox_state DEFAULT VALUES;

-- Figures on the triggers ---------------------------------------------------------------------------------------------

CREATE TABLE realtime.call (
  slot smallint NOT NULL,
  at timestamptz NOT NULL,
  relation regclass NOT NULL,
  seen integer NOT NULL,
  significant integer NOT NULL,
  late integer NOT NULL,
  invalid integer NOT NULL,
  took_us integer NOT NULL,
  stands_for integer NOT NULL DEFAULT 1
) PARTITION BY LIST (slot);
CREATE UNLOGGED TABLE realtime.call_0 PARTITION OF realtime.call FOR VALUES IN (0);
CREATE UNLOGGED TABLE realtime.call_1 PARTITION OF realtime.call FOR VALUES IN (1);

CREATE VIEW realtime.trigger_stats AS
  SELECT relation, count(*) AS calls, sum(seen) AS rows_seen, sum(significant) AS rows_significant,
    sum(late) AS rows_late, sum(invalid) AS rows_invalid,
    round(sum(took_us) / 1000.0, 3) AS total_ms,
    round((percentile_cont(0.5) WITHIN GROUP (ORDER BY took_us) / 1000)::numeric, 3) AS p50_ms,
    round((percentile_cont(0.99) WITHIN GROUP (ORDER BY took_us) / 1000)::numeric, 3) AS p99_ms
  FROM realtime.call CROSS JOIN generate_series(1, stands_for)
  GROUP BY relation;
COMMENT ON VIEW realtime.trigger_stats IS 'Calls of the triggers since the outbox was emptied last but one. Of those for one row that was in time, one of 16 is kept and stands for the others.';

-- Watched tables ------------------------------------------------------------------------------------------------------

CREATE TABLE realtime.watched (
  relation regclass PRIMARY KEY,
  kind text NOT NULL,
  columns jsonb NOT NULL,
  function text NOT NULL UNIQUE
);
COMMENT ON TABLE realtime.watched IS 'The tables that detection is attached to, with the columns that hold each part of a row.';

-- A number with the 38 significant digits that DynamoDB has, and at least 1e-130.
CREATE FUNCTION realtime.decimal(value numeric) RETURNS numeric
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN CASE
    WHEN scale(value) <= 19 AND value < 1e19 AND value > -1e19 THEN value
    WHEN abs(value) < 1e-130 THEN 0
    ELSE round(value, 37 - floor(log(abs(value)))::integer) END;

-- The lane of a subject: relays share the work by lanes.
CREATE FUNCTION realtime.lane(kind text, id text) RETURNS smallint
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN (hashtextextended(kind || '#' || id, 0) & 15)::smallint;

-- True if a change is significant. The rule of the processor: percent or absolute, inclusive; from 0 every change is 100 %. In
-- exact decimals, and in few operations for the many changes that are not.
CREATE FUNCTION realtime.is_significant(previous numeric, current numeric, percent numeric, absolute numeric) RETURNS boolean
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN CASE
    WHEN previous = 0 THEN 100 >= percent OR abs(current) >= absolute
    ELSE abs(current - previous) >= least(absolute, percent * abs(previous) * 0.01) END
    AND current <> previous;

-- True in a session that fills in history: caches follow, nobody hears of it.
CREATE FUNCTION realtime.is_silent() RETURNS boolean
  LANGUAGE sql STABLE
  RETURN coalesce(current_setting('realtime.backfill', true), '') IN ('on', 'true', '1');
