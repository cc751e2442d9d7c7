-- What the relay needs: leases of the lanes, changes that are set aside, and the emptying of the outbox.

CREATE TABLE realtime.relay (
  id text PRIMARY KEY,
  until timestamptz NOT NULL,
  calls bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
COMMENT ON TABLE realtime.relay IS
  'The relays at work. A relay moves until forward while it lives; one that is past it has lost its lanes. calls: the number of its last call that changed lanes; an earlier one that comes late changes nothing.';

CREATE TABLE realtime.lease (
  lane smallint PRIMARY KEY CHECK (lane BETWEEN 0 AND 15),
  relay text,
  done pg_snapshot NOT NULL DEFAULT '1:1:'
) WITH (fillfactor = 50);
COMMENT ON TABLE realtime.lease IS
  'Which relay works on a lane. Changes of a transaction that is visible in done are delivered; the relay saves it now and then, so the last ones may be delivered again.';
INSERT INTO realtime.lease (lane) SELECT generate_series(0, 15);

CREATE TABLE realtime.aside (
  lane smallint NOT NULL,
  kind text NOT NULL,
  id text COLLATE "C" NOT NULL,
  version bigint NOT NULL,
  at bigint NOT NULL,
  created bigint NOT NULL,
  silent boolean NOT NULL,
  body jsonb NOT NULL,
  reason text NOT NULL,
  since timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (kind, id, version, at)
);
COMMENT ON TABLE realtime.aside IS
  'Changes of protocols and tokens that keep failing, in the columns of the outbox. The relay tries them again; all other changes go on.';

-- Empties the outbox: writers move to the other table, and the one that they left is truncated when all its changes are
-- delivered. Nothing is deleted, so a transaction that somebody holds open leaves no dead rows here. A lock that is not free at
-- once is no matter: the next call tries again. Returns what was done. big: bytes from which writers move; after a minute, they
-- move whatever the size.
CREATE FUNCTION realtime.rotate(big bigint) RETURNS text LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  state realtime.outbox_state;
  idle smallint;
  is_empty boolean;
  is_done boolean;
  round integer := 0;
BEGIN
  SELECT * INTO state FROM realtime.outbox_state FOR UPDATE SKIP LOCKED;
  IF NOT FOUND THEN RETURN 'busy'; END IF;
  idle := 1 - state.active;
  EXECUTE format('SELECT NOT EXISTS (SELECT FROM realtime.outbox_%s)', idle) INTO is_empty;
  IF NOT is_empty THEN
    -- Once without the lock, since most calls end here; once with it, because only then no writer is left.
    LOOP
      -- A change is delivered if its transaction is visible in the snapshot of its lane.
      EXECUTE format($sql$SELECT NOT EXISTS (
        SELECT FROM realtime.lease AS l JOIN realtime.outbox_%s AS o
          ON o.lane = l.lane AND (o.xid >= pg_snapshot_xmax(l.done) OR o.xid IN (SELECT pg_snapshot_xip(l.done))))$sql$, idle) INTO is_done;
      IF NOT is_done THEN RETURN 'waiting'; END IF;
      EXIT WHEN round = 1;
      round := 1;
      BEGIN
        SET LOCAL lock_timeout = '50ms';
        EXECUTE format('LOCK TABLE realtime.outbox_%1$s, realtime.call_%1$s IN ACCESS EXCLUSIVE MODE', idle);
      EXCEPTION WHEN lock_not_available THEN
        RETURN 'locked';
      END;
    END LOOP;
    EXECUTE format('TRUNCATE realtime.outbox_%1$s, realtime.call_%1$s', idle);
    RETURN 'emptied';
  END IF;
  EXECUTE format('SELECT NOT EXISTS (SELECT FROM realtime.outbox_%s)', state.active) INTO is_empty;
  IF NOT is_empty AND (pg_relation_size(format('realtime.outbox_%s', state.active)) >= big OR state.switched < now() - interval '1 minute') THEN
    UPDATE realtime.outbox_state SET active = idle, switched = now();
    RETURN 'switched';
  END IF;
  RETURN 'nothing';
END
$$;

-- After a restore from a dump: ids of transactions begin again in the new server, and those in the outbox are of the old one.
CREATE FUNCTION realtime.after_restore() RETURNS void LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  DELETE FROM realtime.relay;
  UPDATE realtime.lease SET relay = NULL, done = '1:1:';
  UPDATE realtime.outbox SET xid = pg_current_xact_id();
$$;

-- What waits, by lane.
CREATE VIEW realtime.backlog AS
  SELECT l.lane, l.relay, r.until, count(o.xid) AS changes, min(o.created) AS oldest,
    (SELECT count(*) FROM realtime.aside AS a WHERE a.lane = l.lane) AS aside
  FROM realtime.lease AS l
  LEFT JOIN realtime.relay AS r ON r.id = l.relay
  LEFT JOIN realtime.outbox AS o
    ON o.lane = l.lane AND (o.xid >= pg_snapshot_xmax(l.done) OR o.xid IN (SELECT pg_snapshot_xip(l.done)))
  GROUP BY l.lane, l.relay, r.until;
COMMENT ON VIEW realtime.backlog IS
  'What waits in each lane: changes, when the oldest was made (ms since 1970), and how many are set aside. The relay saves its progress once a second.';

-- Roles -----------------------------------------------------------------------------------------------------------------
-- An application needs no right in this schema: triggers act for the owner. The relay empties the outbox and changes no data.

DO $$
BEGIN
  CREATE ROLE realtime_relay NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
  NULL; -- Roles belong to the server: another database of it has made the role.
END
$$;
GRANT USAGE ON SCHEMA realtime TO realtime_relay;
GRANT SELECT ON realtime.outbox, realtime.outbox_0, realtime.outbox_1, realtime.outbox_state, realtime.trigger_stats, realtime.backlog TO realtime_relay;
GRANT TRUNCATE ON realtime.outbox_0, realtime.outbox_1, realtime.call_0, realtime.call_1 TO realtime_relay;
GRANT UPDATE (active, asleep_until, switched) ON realtime.outbox_state TO realtime_relay;
GRANT SELECT, INSERT, UPDATE, DELETE ON realtime.relay, realtime.aside TO realtime_relay;
GRANT SELECT, UPDATE (relay, done) ON realtime.lease TO realtime_relay;
REVOKE EXECUTE ON FUNCTION realtime.rotate, realtime.after_restore FROM PUBLIC;
GRANT EXECUTE ON FUNCTION realtime.rotate TO realtime_relay;
