-- Tables as an application has them. Each test begins with empty ones.
DROP TABLE IF EXISTS tvl, prices, history, protocols;
CREATE TABLE tvl (protocol_id text, chain text NOT NULL DEFAULT '', tvl numeric, at timestamptz, PRIMARY KEY (protocol_id, chain));
CREATE TABLE prices (token_id text PRIMARY KEY, price double precision, at bigint, symbol text, decimals integer);
CREATE TABLE history (coin text, usd numeric, seen bigint) PARTITION BY RANGE (seen);
CREATE TABLE history_old PARTITION OF history FOR VALUES FROM (0) TO (1700000000);
CREATE TABLE history_new PARTITION OF history FOR VALUES FROM (1700000000) TO (2000000000);
CREATE TABLE protocols (id text PRIMARY KEY, name text, category text, fee numeric, chains text[], at timestamptz);
-- The data times of the tests are long ago.
UPDATE realtime.outbox_state SET history_ms = 1e13, protocol_history_ms = 1e13;
SELECT realtime.watch('tvl', 'tvl');
SELECT realtime.watch('prices', 'price');
SELECT realtime.watch('history', 'price', '{"id": "coin", "value": "usd", "at": "seen"}');
SELECT realtime.watch('protocols', 'protocol');

-- What is in the outbox, in the order of the relay; then it is emptied.
CREATE OR REPLACE FUNCTION pg_temp.outbox() RETURNS SETOF text LANGUAGE sql AS $$
  WITH entry AS (SELECT * FROM realtime.outbox),
  emptied AS (DELETE FROM realtime.outbox)
  SELECT format('%s %s v%s at %s%s %s', kind, id, version, at, CASE WHEN silent THEN ' silent' ELSE '' END, jsonb_strip_nulls(body) - '{known,percent,absolute}'::text[]) FROM entry ORDER BY kind, id COLLATE "C", version
$$;
