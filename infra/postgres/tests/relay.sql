\ir setup.sql
TRUNCATE realtime.outbox;
CREATE ROLE app LOGIN;
CREATE ROLE relay_user LOGIN IN ROLE realtime_relay;
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON prices TO app;
CREATE FUNCTION pg_temp.as_role(role text, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE result text := 'done';
BEGIN
  EXECUTE format('SET LOCAL ROLE %I', role);
  BEGIN
    EXECUTE statement;
  EXCEPTION WHEN insufficient_privilege THEN
    result := 'refused: ' || SQLERRM;
  END;
  RESET ROLE;
  RETURN result;
END
$$;

\echo == an application writes its data, and has no right to anything here
SELECT pg_temp.as_role('app', $$INSERT INTO prices VALUES ('p', 1, 1700000000, 'P', 1)$$);
SELECT pg_temp.as_role('app', $$UPDATE prices SET price = 2, at = 1700000060 WHERE token_id = 'p'$$);
SELECT pg_temp.as_role('app', 'SELECT * FROM realtime.outbox');
SELECT pg_temp.as_role('app', 'DELETE FROM realtime.outbox');
SELECT pg_temp.as_role('app', $$UPDATE realtime.threshold SET percent = 99$$);
SELECT pg_temp.as_role('app', 'TRUNCATE prices');

\echo == the relay reads and empties the outbox, and changes nothing else
SELECT pg_temp.as_role('relay_user', 'SELECT * FROM realtime.outbox');
SELECT pg_temp.as_role('relay_user', 'TRUNCATE realtime.outbox_0');
SELECT pg_temp.as_role('relay_user', 'UPDATE realtime.outbox_state SET asleep_until = now()');
SELECT pg_temp.as_role('relay_user', 'UPDATE realtime.outbox_state SET history_ms = 1');
SELECT pg_temp.as_role('relay_user', 'SELECT realtime.rotate(1)');
SELECT pg_temp.as_role('relay_user', $$INSERT INTO realtime.outbox (slot, lane, kind, id, version, at, created, silent, body) VALUES (0, 0, 'price', 'x', 1, 1, 1, false, '{}')$$);
SELECT pg_temp.as_role('relay_user', 'DELETE FROM realtime.outbox');
SELECT pg_temp.as_role('relay_user', 'UPDATE realtime.last_price SET value = 1');
SELECT pg_temp.as_role('relay_user', 'UPDATE prices SET price = 1');
SELECT pg_temp.as_role('relay_user', 'SELECT realtime.after_restore()');
SELECT pg_temp.as_role('relay_user', $$UPDATE realtime.prices SET price = 1$$);

\echo == one who writes the reference tables
CREATE ROLE feed LOGIN IN ROLE realtime_writer;
SELECT pg_temp.as_role('feed', $$INSERT INTO realtime.prices VALUES ('of-feed', 1)$$);
SELECT pg_temp.as_role('feed', 'SELECT * FROM realtime.outbox');
DELETE FROM realtime.prices;

\echo == the outbox is emptied only when all changes of the table that writers left are delivered
TRUNCATE realtime.outbox, realtime.call;
UPDATE realtime.outbox_state SET active = 0, switched = now() - interval '1 hour';
SELECT realtime.rotate(1e12::bigint);
INSERT INTO prices VALUES ('p', 1, 1700000180, 'P', 1), ('q', 1, 1700000180, 'Q', 1);
UPDATE prices SET price = price * 2, at = 1700000240;
SELECT realtime.rotate(1e12::bigint);
SELECT realtime.rotate(1e12::bigint), active FROM realtime.outbox_state;
UPDATE realtime.lease SET done = pg_current_snapshot() WHERE lane <> realtime.lane('price', 'q');
SELECT realtime.rotate(1e12::bigint);
-- The transaction of the changes was still running when this snapshot was taken.
UPDATE realtime.lease SET done = format('%s:%s:%1$s', x.xid, x.xid::text::bigint + 1)::pg_snapshot FROM (SELECT max(xid) AS xid FROM realtime.outbox) AS x;
SELECT realtime.rotate(1e12::bigint);
UPDATE realtime.lease SET done = pg_current_snapshot();
SELECT realtime.rotate(1e12::bigint);
SELECT count(*) AS left FROM realtime.outbox;
UPDATE prices SET price = price * 2, at = 1700000300;
SELECT slot, count(*) FROM realtime.outbox GROUP BY slot;
\echo == not before a minute, unless the table is big
SELECT realtime.rotate(1e12::bigint);
SELECT realtime.rotate(1);

\echo == what waits
SELECT sum(changes) AS changes, min(oldest) > 1.7e12 AS recent, sum(aside) AS aside FROM realtime.backlog;
DROP OWNED BY app, relay_user, feed;
DROP ROLE app, relay_user, feed;
