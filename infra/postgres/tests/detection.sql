\ir setup.sql

\echo == first seen: no change
INSERT INTO tvl VALUES ('1', '', 1000000, '2026-01-01Z'), ('1', 'base', 400000, '2026-01-01Z'), ('2', '', 500, '2026-01-01Z');
SELECT pg_temp.outbox();

\echo == exactly 1 % and exactly 10,000 USD are significant, less is not; 500 to 504.99 is 0.998 %
UPDATE tvl SET tvl = CASE WHEN chain = 'base' THEN 404000 WHEN protocol_id = '1' THEN 1009999.99 ELSE 504.99 END, at = '2026-01-01 01:00Z';
SELECT pg_temp.outbox();
UPDATE tvl SET tvl = tvl + 10000, at = '2026-01-01 02:00Z' WHERE protocol_id = '1' AND chain = '';
SELECT pg_temp.outbox();

\echo == a threshold of one protocol, in effect at once
INSERT INTO realtime.threshold VALUES ('tvl', '2', 50, 1000000);
UPDATE tvl SET tvl = 700, at = '2026-01-01 02:00Z' WHERE protocol_id = '2';
SELECT pg_temp.outbox();
DELETE FROM realtime.threshold WHERE id = '2';

\echo == zero, negative
INSERT INTO tvl VALUES ('3', '', 0, '2026-01-01Z');
UPDATE tvl SET tvl = 0.01, at = '2026-01-01 01:00Z' WHERE protocol_id = '3';
UPDATE tvl SET tvl = 0, at = '2026-01-01 02:00Z' WHERE protocol_id = '3';
UPDATE tvl SET tvl = -5, at = '2026-01-01 03:00Z' WHERE protocol_id = '3';
SELECT pg_temp.outbox();

\echo == an equal value, NULL, NaN and infinity change nothing; the write goes through
UPDATE tvl SET tvl = -5.0, at = '2026-01-01 04:00Z' WHERE protocol_id = '3';
UPDATE tvl SET tvl = NULL, at = '2026-01-01 05:00Z' WHERE protocol_id = '3';
UPDATE tvl SET tvl = 'NaN', at = '2026-01-01 05:00Z' WHERE protocol_id = '3';
UPDATE tvl SET tvl = 'Infinity', at = '2026-01-01 05:00Z' WHERE protocol_id = '3';
SELECT pg_temp.outbox();
SELECT chain, value, at FROM realtime.part WHERE id = '3';

\echo == a late row changes nothing
UPDATE tvl SET tvl = 99999, at = '2025-12-31Z' WHERE protocol_id = '3';
SELECT pg_temp.outbox();
SELECT chain, value, at FROM realtime.part WHERE id = '3';

\echo == a chain appears, and vanishes; a small one does not count
INSERT INTO tvl VALUES ('1', 'ethereum', 10000, '2026-01-01 06:00Z'), ('1', 'xdai', 9999, '2026-01-01 06:00Z');
SELECT pg_temp.outbox();
BEGIN;
DELETE FROM tvl WHERE chain IN ('ethereum', 'xdai');
SELECT pg_temp.outbox();
INSERT INTO tvl VALUES ('1', 'ethereum', 10000, '2026-01-01 06:00Z');
DELETE FROM tvl WHERE chain = 'ethereum';
SELECT pg_temp.outbox();
ROLLBACK;

\echo == numeric is exact, beyond doubles
INSERT INTO prices VALUES ('a', 1.1, 1700000000, 'A', 18);
UPDATE prices SET price = 1.1011, at = 1700000060;
SELECT pg_temp.outbox();
INSERT INTO tvl VALUES ('4', '', 100000000000000000000000000000000000.01, '2026-01-01Z');
UPDATE tvl SET tvl = tvl + 0.01, at = '2026-01-01 01:00Z' WHERE protocol_id = '4';
SELECT pg_temp.outbox();

\echo == one statement with several rows of one token: compared one after the other, in the order of their times
COPY history FROM stdin;
x	1	1600000000
x	1.5	1700000060
x	1.2	1600000060
x	1.2	1600000060
x	1.3	1600000060
y	7	1600000000
\.
SELECT pg_temp.outbox();

\echo == a direct write to a partition
INSERT INTO history_new VALUES ('x', 3, 1700000120);
SELECT pg_temp.outbox();

\echo == upsert, MERGE, an empty statement
INSERT INTO prices VALUES ('a', 2, 1700000120, 'A', 18), ('b', 1, 1700000120, 'B', 6) ON CONFLICT (token_id) DO UPDATE SET price = excluded.price, at = excluded.at;
SELECT pg_temp.outbox();
MERGE INTO prices AS p USING (VALUES ('a', 4.0, 1700000180), ('c', 1.0, 1700000180)) AS n(id, price, at) ON p.token_id = n.id
  WHEN MATCHED THEN UPDATE SET price = n.price, at = n.at WHEN NOT MATCHED THEN INSERT VALUES (n.id, n.price, n.at, NULL, NULL);
SELECT pg_temp.outbox();
UPDATE prices SET price = 5 WHERE false;
SELECT pg_temp.outbox();

\echo == history, and a clock that runs ahead
UPDATE realtime.outbox_state SET history_ms = 90000000;
UPDATE prices SET price = 1000, at = 1700000240 WHERE token_id = 'a';
SELECT pg_temp.outbox();
SELECT value, at FROM realtime.last_price WHERE id = 'a';
UPDATE realtime.outbox_state SET history_ms = 1e13;
BEGIN;
UPDATE prices SET price = 1000, at = 4000000000 WHERE token_id = 'b';
SELECT at BETWEEN (extract(epoch FROM now()) - 60) * 1000 AND extract(epoch FROM clock_timestamp()) * 1000 AS clamped FROM realtime.last_price WHERE id = 'b';
ROLLBACK;

\echo == 38 significant digits, as DynamoDB has; a negative price is no value
INSERT INTO tvl VALUES ('5', '', 1e-200, '2026-01-01Z'), ('5', 'base', 2.00000000000000000000000000000000000000000001, '2026-01-01Z'), ('5', 'xdai', 1e125, '2026-01-01Z');
SELECT chain, value FROM realtime.part WHERE id = '5' ORDER BY chain;
UPDATE prices SET price = -1, at = 1700000241 WHERE token_id = 'a';
SELECT value FROM realtime.last_price WHERE id = 'a';

\echo == rows of one data time are counted
UPDATE tvl SET tvl = 3, at = '2026-01-01Z' WHERE protocol_id = '5' AND chain = 'base';
UPDATE tvl SET tvl = 4, at = '2026-01-01Z' WHERE protocol_id = '5' AND chain = 'base';
UPDATE tvl SET tvl = 5, at = '2026-01-01 01:00Z' WHERE protocol_id = '5' AND chain = 'base';
SELECT pg_temp.outbox();

\echo == a statement of one row and one of several rows do the same
INSERT INTO tvl VALUES ('6', '', 100000, '2026-01-01Z'), ('7', '', 100000, '2026-01-01Z'), ('8', '', 100000, '2026-01-01Z');
UPDATE tvl SET tvl = tvl + 1000, at = '2026-01-01 01:00Z' WHERE protocol_id = '6';
UPDATE tvl SET tvl = tvl + 1000, at = '2026-01-01 01:00Z' WHERE protocol_id IN ('7', '8');
INSERT INTO tvl VALUES ('6', 'base', 10000, '2026-01-01 01:00Z');
INSERT INTO tvl VALUES ('7', 'base', 10000, '2026-01-01 01:00Z'), ('8', 'base', 10000, '2026-01-01 01:00Z');
UPDATE tvl SET tvl = 5, at = '2026-01-01 01:00Z' WHERE protocol_id = '6' AND chain = 'base';
UPDATE tvl SET tvl = 5, at = '2026-01-01 01:00Z' WHERE protocol_id IN ('7', '8') AND chain = 'base';
UPDATE tvl SET tvl = 6, at = '2025-12-31Z' WHERE protocol_id = '6';
UPDATE tvl SET tvl = 6, at = '2025-12-31Z' WHERE protocol_id IN ('7', '8');
SELECT pg_temp.outbox();
SELECT id, chain, at, occurrence, value FROM realtime.part WHERE id IN ('6', '7', '8') ORDER BY id, chain;

\echo == protocols: any field; an equal rewrite is no change
INSERT INTO protocols VALUES ('1', 'Aave', 'Lending', 1.10, '{base}', '2026-01-01Z');
UPDATE protocols SET fee = 1.1, at = '2026-01-01 01:00Z';
SELECT pg_temp.outbox();
UPDATE protocols SET chains = '{base,xdai}', name = NULL, at = '2026-01-01 02:00Z';
SELECT pg_temp.outbox();

\echo == a rollback leaves nothing, also within a transaction
BEGIN;
UPDATE prices SET price = 100, at = 1700000240 WHERE token_id = 'a';
SAVEPOINT s;
UPDATE prices SET price = 200, at = 1700000300 WHERE token_id = 'a';
ROLLBACK TO s;
COMMIT;
SELECT pg_temp.outbox();

\echo == backfill: silent
BEGIN;
SET LOCAL realtime.backfill = 'on';
UPDATE prices SET price = 7, at = 1700000360 WHERE token_id = 'a';
COMMIT;
SELECT pg_temp.outbox();

\echo == a table with triggers of its own: what they make of a row counts
CREATE TABLE audit (id text, price numeric);
CREATE FUNCTION doubled() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.price := NEW.price * 2; RETURN NEW; END $$;
CREATE FUNCTION audited() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit VALUES (NEW.token_id, NEW.price); RETURN NULL; END $$;
CREATE TRIGGER doubled BEFORE UPDATE ON prices FOR EACH ROW EXECUTE FUNCTION doubled();
CREATE TRIGGER audited AFTER UPDATE ON prices FOR EACH ROW EXECUTE FUNCTION audited();
UPDATE prices SET price = 10, at = 1700000400 WHERE token_id = 'a';
SELECT pg_temp.outbox();
SELECT * FROM audit;
DROP TRIGGER doubled ON prices;
DROP TRIGGER audited ON prices;
DROP FUNCTION doubled, audited;
DROP TABLE audit;

\echo == TRUNCATE is maintenance: the next load is compared with what was there
TRUNCATE prices;
INSERT INTO prices VALUES ('a', 7, 1700000420, 'A', 18), ('b', 3, 1700000420, 'B', 6);
SELECT pg_temp.outbox();

\echo == columns that are named like the variables of the functions
CREATE TABLE odd (state text PRIMARY KEY, one_value numeric, last_at bigint, began text);
SELECT realtime.watch('odd', 'price', '{"id": "state", "value": "one_value", "at": "last_at", "symbol": "began"}');
INSERT INTO odd VALUES ('odd', 1, 1700000000, 'ODD'), ('even', 1, 1700000000, 'EVEN');
UPDATE odd SET one_value = 2, last_at = 1700000060 WHERE state = 'odd';
UPDATE odd SET one_value = one_value + 2, last_at = 1700000120;
SELECT pg_temp.outbox();
DROP TABLE odd;
DELETE FROM realtime.watched WHERE function = 'on_odd';

\echo == figures: exact on statements of several rows, and of rows that are late or no value
TRUNCATE realtime.call;
UPDATE prices SET price = price * 2, at = 1700000480;
UPDATE prices SET price = price * 2, at = 1700000480 WHERE token_id = 'a' OR token_id = 'b';
UPDATE prices SET price = 1, at = 1 WHERE token_id = 'a';
UPDATE prices SET price = -1, at = 1700000480 WHERE token_id = 'a';
UPDATE protocols SET fee = fee + 1, at = '2026-01-01 03:00Z';
SELECT relation, calls, rows_seen, rows_significant, rows_late, rows_invalid, p99_ms >= p50_ms AND p50_ms > 0 AS timed FROM realtime.trigger_stats ORDER BY relation::text;
\echo == figures: of the other statements of one row, one stands for 16
TRUNCATE realtime.call, realtime.outbox;
DO $$ BEGIN FOR n IN 1 .. 400 LOOP UPDATE prices SET price = n, at = 1700000480 + n WHERE token_id = 'a'; END LOOP; END $$;
SELECT relation, calls % 16 AS rest, calls > 0 AS kept, rows_seen = calls AS each_one, rows_significant > 0 AS significant FROM realtime.trigger_stats;
SELECT count(*) FROM realtime.outbox;
TRUNCATE realtime.outbox;

\echo == wrong calls say what is wrong and what is accepted
\set ON_ERROR_STOP off
SELECT realtime.watch('tvl', 'tvl');
SELECT realtime.unwatch('pg_class');
SELECT realtime.watch('protocols', 'volume');
CREATE TABLE other (id text, amount numeric, at boolean);
SELECT realtime.watch('other', 'tvl');
SELECT realtime.watch('other', 'tvl', '{"id": "id", "value": "amount", "key": "id"}');
SELECT realtime.watch('other', 'tvl', '{"id": "id", "value": "amount"}');
INSERT INTO realtime.threshold VALUES ('tvl', 'x', 'NaN', 1);
INSERT INTO realtime.threshold VALUES ('tvl', 'x', 0, 1);
\set ON_ERROR_STOP on

\echo == unwatch
SELECT realtime.unwatch('tvl');
UPDATE tvl SET tvl = 1e9, at = '2027-01-01Z';
SELECT pg_temp.outbox();
DROP TABLE other;
