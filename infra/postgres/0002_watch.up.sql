-- Attaching detection to a table.

-- Makes the trigger function of a table of TVL or prices. new_rows are the rows of the statement.
CREATE FUNCTION realtime.value_trigger_body(kind text, id text, part text, value text, at text, extra text,
  unique_rows boolean) RETURNS text LANGUAGE sql IMMUTABLE AS $make$
SELECT format($body$
DECLARE
  began timestamptz := clock_timestamp();
  now_ms bigint := (extract(epoch FROM began) * 1000)::bigint;
  state realtime.outbox_state;
  is_silent boolean := coalesce(current_setting('realtime.backfill', true), '') IN ('on', 'true', '1');
  seen_count bigint; valid_count bigint; timely_count bigint; significant_count bigint;
BEGIN
  SELECT count(*) INTO seen_count FROM new_rows;
  IF seen_count = 0 THEN RETURN NULL; END IF;
  -- A new protocol or token gets a row first, so that its writers can wait for each other.
  INSERT INTO realtime.subject (kind, id, version, parts)
    SELECT %1$L, candidate.id, 0, '{}' FROM (SELECT DISTINCT %2$s AS id FROM new_rows WHERE %2$s IS NOT NULL) AS candidate
    WHERE NOT EXISTS (SELECT FROM realtime.subject AS s WHERE s.kind = %1$L AND s.id = candidate.id)
    ORDER BY candidate.id
    ON CONFLICT DO NOTHING;
  SELECT * INTO state FROM realtime.outbox_state;
  WITH
  incoming AS MATERIALIZED (
    SELECT %2$s AS id, %3$s AS part, %4$s AS value, %5$s AS at, %6$s AS extra, %7$s AS nth
    FROM new_rows
    -- No NaN, no infinity, nothing that DynamoDB could not hold.
    WHERE %2$s IS NOT NULL AND %4$s BETWEEN -1e126 AND 1e126
  ),
  -- Held until the commit: the next writer of the protocol or token waits, and sees these values.
  locked AS MATERIALIZED (
    SELECT s.id, s.version, s.at, s.parts FROM realtime.subject AS s
    WHERE s.kind = %1$L AND s.id IN (SELECT incoming.id FROM incoming)
    ORDER BY s.id
    FOR UPDATE
  ),
  timely AS (
    SELECT incoming.id, incoming.part, incoming.value, incoming.nth, incoming.extra, locked.version, locked.parts,
      locked.at IS NOT NULL AS known,
      -- Without a data time, a row is as old as its statement, but never older than the row before it.
      coalesce(incoming.at, greatest(locked.at, now_ms)) AS at,
      coalesce(own.percent, of_kind.percent) AS percent, coalesce(own.absolute, of_kind.absolute) AS absolute
    FROM incoming JOIN locked USING (id)
    CROSS JOIN (SELECT t.percent, t.absolute FROM realtime.threshold AS t WHERE t.kind = %1$L AND t.id = '') AS of_kind
    LEFT JOIN realtime.threshold AS own ON own.kind = %1$L AND own.id = incoming.id
    WHERE incoming.at IS NULL OR locked.at IS NULL OR incoming.at >= locked.at
  ),
  compared AS (
    SELECT timely.*, %8$s AS previous, %9$s AS previous_at FROM timely %10$s
  ),
  judged AS (
    SELECT compared.*, CASE
      WHEN previous IS NULL THEN part <> '' AND known AND abs(value) >= absolute
      ELSE realtime.is_significant(previous, value, percent, absolute) END AS significant
    FROM compared
  ),
  entry AS (
    SELECT id, at, min(version) + row_number() OVER (PARTITION BY id ORDER BY at, nth) AS version,
      bool_or(significant) AS significant,
      jsonb_object_agg(part, jsonb_build_array(value, previous, previous_at)) AS parts,
      bool_or(known) OR row_number() OVER (PARTITION BY id ORDER BY at, nth) > 1 AS known,
      min(percent) AS percent, min(absolute) AS absolute, (array_agg(extra))[1] AS extra
    FROM judged GROUP BY id, at, nth
  ),
  updated AS (
    UPDATE realtime.subject AS s SET version = next.version, at = next.at, parts = s.parts || next.parts
    FROM (
      SELECT entry.id, max(entry.version) AS version, max(entry.at) AS at, max(last.parts::text)::jsonb AS parts
      FROM entry JOIN (
        SELECT id, jsonb_object_agg(part, jsonb_build_array(value, at) ORDER BY at, nth) AS parts FROM judged GROUP BY id
      ) AS last USING (id) GROUP BY entry.id
    ) AS next
    WHERE s.kind = %1$L AND s.id = next.id
  ),
  written AS (
    INSERT INTO realtime.outbox (slot, lane, kind, id, version, at, created, silent, body)
    SELECT state.active, realtime.lane(%1$L, id), %1$L, id, version, at, now_ms, is_silent,
      jsonb_build_object('parts', parts, 'known', known, 'percent', percent, 'absolute', absolute, 'extra', extra)
    FROM entry WHERE significant
    RETURNING 1
  )
  SELECT (SELECT count(*) FROM incoming), (SELECT count(*) FROM timely), (SELECT count(*) FROM written)
    INTO valid_count, timely_count, significant_count;
  PERFORM realtime.finish_call(state.active, state.sleeping, TG_RELID, began, seen_count, significant_count, valid_count - timely_count, seen_count - valid_count);
  RETURN NULL;
END
$body$, kind, id, part, value, at, extra,
  CASE WHEN unique_rows THEN '0' ELSE 'row_number() OVER ()' END,
  CASE WHEN unique_rows THEN '(parts -> part ->> 0)::numeric'
    ELSE 'coalesce(lag(value) OVER before, (parts -> part ->> 0)::numeric)' END,
  CASE WHEN unique_rows THEN '(parts -> part ->> 1)::bigint'
    ELSE 'coalesce(lag(at) OVER before, (parts -> part ->> 1)::bigint)' END,
  CASE WHEN unique_rows THEN '' ELSE 'WINDOW before AS (PARTITION BY id, part ORDER BY at, nth)' END)
$make$;

-- Makes the trigger function of a table of TVL whose rows were deleted: a chain that vanishes is a change.
CREATE FUNCTION realtime.removal_trigger_body(id text, part text) RETURNS text LANGUAGE sql IMMUTABLE AS $make$
SELECT format($body$
DECLARE
  began timestamptz := clock_timestamp();
  now_ms bigint := (extract(epoch FROM began) * 1000)::bigint;
  state realtime.outbox_state;
  is_silent boolean := coalesce(current_setting('realtime.backfill', true), '') IN ('on', 'true', '1');
  seen_count bigint; significant_count bigint;
BEGIN
  SELECT count(*) INTO seen_count FROM old_rows;
  IF seen_count = 0 THEN RETURN NULL; END IF;
  SELECT * INTO state FROM realtime.outbox_state;
  WITH
  incoming AS MATERIALIZED (SELECT DISTINCT %1$s AS id, %2$s AS part FROM old_rows WHERE %1$s IS NOT NULL),
  locked AS MATERIALIZED (
    SELECT s.id, s.version, s.at, s.parts FROM realtime.subject AS s
    WHERE s.kind = 'tvl' AND s.id IN (SELECT incoming.id FROM incoming)
    ORDER BY s.id
    FOR UPDATE
  ),
  gone AS (
    SELECT locked.id, locked.version + 1 AS version, greatest(locked.at, now_ms) AS at,
      coalesce(own.percent, of_kind.percent) AS percent, coalesce(own.absolute, of_kind.absolute) AS absolute,
      array_agg(incoming.part) AS parts,
      jsonb_object_agg(incoming.part, locked.parts -> incoming.part) AS last,
      bool_or(incoming.part <> '' AND abs((locked.parts -> incoming.part ->> 0)::numeric) >= coalesce(own.absolute, of_kind.absolute))
        AS significant
    FROM incoming JOIN locked USING (id)
    CROSS JOIN (SELECT t.percent, t.absolute FROM realtime.threshold AS t WHERE t.kind = 'tvl' AND t.id = '') AS of_kind
    LEFT JOIN realtime.threshold AS own ON own.kind = 'tvl' AND own.id = incoming.id
    WHERE locked.parts ? incoming.part
    GROUP BY locked.id, locked.version, locked.at, own.percent, own.absolute, of_kind.percent, of_kind.absolute
  ),
  updated AS (
    UPDATE realtime.subject AS s SET version = gone.version, at = gone.at, parts = s.parts - gone.parts
    FROM gone WHERE s.kind = 'tvl' AND s.id = gone.id
  ),
  written AS (
    INSERT INTO realtime.outbox (slot, lane, kind, id, version, at, created, silent, body)
    SELECT state.active, realtime.lane('tvl', id), 'tvl', id, version, at, now_ms, is_silent,
      jsonb_build_object('parts', '{}'::jsonb, 'known', true, 'percent', percent, 'absolute', absolute, 'gone', last)
    FROM gone WHERE significant
    RETURNING 1
  )
  SELECT count(*) INTO significant_count FROM written;
  PERFORM realtime.finish_call(state.active, state.sleeping, TG_RELID, began, seen_count, significant_count, 0, 0);
  RETURN NULL;
END
$body$, id, part)
$make$;

-- Makes the trigger function of a table of protocols.
CREATE FUNCTION realtime.fields_trigger_body(id text, at text, not_fields text) RETURNS text
  LANGUAGE sql IMMUTABLE AS $make$
SELECT format($body$
DECLARE
  began timestamptz := clock_timestamp();
  now_ms bigint := (extract(epoch FROM began) * 1000)::bigint;
  state realtime.outbox_state;
  is_silent boolean := coalesce(current_setting('realtime.backfill', true), '') IN ('on', 'true', '1');
  seen_count bigint; valid_count bigint; timely_count bigint; significant_count bigint;
BEGIN
  SELECT count(*) INTO seen_count FROM new_rows;
  IF seen_count = 0 THEN RETURN NULL; END IF;
  INSERT INTO realtime.subject (kind, id, version, parts)
    SELECT 'protocol', candidate.id, 0, '{}' FROM (SELECT DISTINCT %1$s AS id FROM new_rows WHERE %1$s IS NOT NULL) AS candidate
    WHERE NOT EXISTS (SELECT FROM realtime.subject AS s WHERE s.kind = 'protocol' AND s.id = candidate.id)
    ORDER BY candidate.id
    ON CONFLICT DO NOTHING;
  SELECT * INTO state FROM realtime.outbox_state;
  WITH
  incoming AS MATERIALIZED (
    SELECT %1$s AS id, %2$s AS at, jsonb_strip_nulls(to_jsonb(new_rows) - %3$L::text[]) AS fields, row_number() OVER () AS nth
    FROM new_rows WHERE %1$s IS NOT NULL
  ),
  locked AS MATERIALIZED (
    SELECT s.id, s.version, s.at, s.parts FROM realtime.subject AS s
    WHERE s.kind = 'protocol' AND s.id IN (SELECT incoming.id FROM incoming)
    ORDER BY s.id
    FOR UPDATE
  ),
  timely AS (
    SELECT incoming.id, incoming.fields, incoming.nth, locked.version, locked.parts, locked.at IS NOT NULL AS known,
      coalesce(incoming.at, greatest(locked.at, now_ms)) AS at
    FROM incoming JOIN locked USING (id)
    WHERE incoming.at IS NULL OR locked.at IS NULL OR incoming.at >= locked.at
  ),
  compared AS (
    SELECT timely.*, version + row_number() OVER subject AS next_version,
      coalesce(lag(fields) OVER subject, CASE WHEN known THEN parts END) AS previous
    FROM timely WINDOW subject AS (PARTITION BY id ORDER BY at, nth)
  ),
  updated AS (
    UPDATE realtime.subject AS s SET version = last.next_version, at = last.at, parts = last.fields
    FROM (SELECT DISTINCT ON (id) id, next_version, at, fields FROM compared ORDER BY id, next_version DESC) AS last
    WHERE s.kind = 'protocol' AND s.id = last.id
  ),
  written AS (
    INSERT INTO realtime.outbox (slot, lane, kind, id, version, at, created, silent, body)
    SELECT state.active, realtime.lane('protocol', id), 'protocol', id, next_version, at, now_ms, is_silent,
      jsonb_build_object('fields', fields, 'previous', previous)
    FROM compared WHERE previous <> fields
    RETURNING 1
  )
  SELECT (SELECT count(*) FROM incoming), (SELECT count(*) FROM timely), (SELECT count(*) FROM written)
    INTO valid_count, timely_count, significant_count;
  PERFORM realtime.finish_call(state.active, state.sleeping, TG_RELID, began, seen_count, significant_count, valid_count - timely_count, seen_count - valid_count);
  RETURN NULL;
END
$body$, id, at, not_fields)
$make$;

-- Notes the figures of a call, and wakes a relay that sleeps. NOTIFY takes a lock on the whole database at the commit, so
-- it is silent while relays are awake.
CREATE FUNCTION realtime.finish_call(slot smallint, sleeping boolean, relation regclass, began timestamptz, seen bigint,
  significant bigint, late bigint, invalid bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF significant > 0 AND sleeping THEN PERFORM pg_notify('realtime', ''); END IF;
  INSERT INTO realtime.call VALUES (slot, began, relation, seen, significant, late, invalid,
    (extract(epoch FROM clock_timestamp() - began) * 1e6)::integer);
END
$$;

-- The expression that reads a data time, in ms since 1970, from a column: a timestamp, or seconds or milliseconds.
CREATE FUNCTION realtime.time_expression(relation regclass, name text) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE type regtype;
BEGIN
  IF name IS NULL THEN RETURN 'NULL::bigint'; END IF;
  SELECT a.atttypid INTO type FROM pg_attribute AS a WHERE a.attrelid = relation AND a.attname = name;
  CASE
    WHEN type IN ('timestamptz'::regtype, 'timestamp'::regtype) THEN
      RETURN format('(extract(epoch FROM %I%s) * 1000)::bigint', name, CASE WHEN type = 'timestamp'::regtype THEN ' AT TIME ZONE ''UTC''' ELSE '' END);
    WHEN type IN ('int4'::regtype, 'int8'::regtype, 'numeric'::regtype) THEN
      RETURN format('CASE WHEN %1$I < 100000000000 THEN %1$I * 1000::bigint ELSE %1$I END::bigint', name);
    ELSE
      RAISE EXCEPTION 'column % of % has the type %, which holds no data time', name, relation, type
        USING HINT = 'Accepted: timestamptz, timestamp (UTC), integer, bigint or numeric (seconds or milliseconds since 1970).';
  END CASE;
END
$$;

-- Attaches detection to a table, with its partitions. columns says which column holds what; a part that is left out has the
-- name in the defaults, and an optional part may be missing.
CREATE FUNCTION realtime.watch(relation regclass, kind text, columns jsonb DEFAULT '{}') RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  required constant jsonb := CASE kind
    WHEN 'tvl' THEN '{"id": "protocol_id", "value": "tvl"}'::jsonb
    WHEN 'price' THEN '{"id": "token_id", "value": "price"}'
    WHEN 'protocol' THEN '{"id": "id"}' END;
  optional constant jsonb := CASE kind
    WHEN 'tvl' THEN '{"chain": "chain", "at": "at"}'::jsonb
    WHEN 'price' THEN '{"at": "at", "symbol": "symbol", "chain": "chain", "decimals": "decimals", "confidence": "confidence", "volume24h": "volume24h", "marketCap": "market_cap", "adapter": "adapter"}'
    WHEN 'protocol' THEN '{"at": "at"}' END;
  all_columns constant text[] := ARRAY(SELECT a.attname FROM pg_attribute AS a WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped);
  used jsonb;
  -- Names have at most 63 bytes. Two tables can have one name, in two schemas.
  name text := 'on_' || left((SELECT c.relname FROM pg_class AS c WHERE c.oid = relation), 40);
  same integer;
  unknown text;
  id text; part text; value text; at text; extra text; is_unique boolean;
  part_relation regclass;
BEGIN
  IF required IS NULL THEN
    RAISE EXCEPTION 'kind is %; it accepts tvl, price or protocol', quote_nullable(kind);
  END IF;
  IF EXISTS (SELECT FROM realtime.watched AS w WHERE w.relation = watch.relation) THEN
    RAISE EXCEPTION '% is watched already', relation USING HINT = format('SELECT realtime.unwatch(%L) takes it off.', relation);
  END IF;
  SELECT string_agg(given.key, ', ') INTO unknown FROM jsonb_object_keys(columns) AS given(key) WHERE NOT (required || optional) ? given.key;
  IF unknown IS NOT NULL THEN
    RAISE EXCEPTION 'columns has %, which a table of kind % does not have', unknown, kind
      USING HINT = 'Accepted: ' || (SELECT string_agg(key, ', ' ORDER BY key) FROM jsonb_object_keys(required || optional) AS accepted(key));
  END IF;
  SELECT string_agg(part.value, ', ') INTO unknown FROM jsonb_each_text(required || columns) AS part WHERE NOT part.value = ANY (all_columns);
  IF unknown IS NOT NULL THEN
    RAISE EXCEPTION '% has no column %', relation, unknown
      USING HINT = format('Name the columns, for example realtime.watch(%L, %L, %L). The table has %s.', relation, kind, required, array_to_string(all_columns, ', '));
  END IF;
  -- An optional part that is not named is used if the table has the column.
  SELECT required || coalesce(jsonb_object_agg(o.key, o.value) FILTER (WHERE o.value = ANY (all_columns)), '{}') || columns
    INTO used FROM jsonb_each_text(optional) AS o;

  SELECT count(*) INTO same FROM realtime.watched AS w WHERE w.function LIKE name || '%';
  IF same > 0 THEN name := name || '_' || same; END IF;
  id := format('%I::text COLLATE "C"', used ->> 'id');
  at := realtime.time_expression(relation, used ->> 'at');
  IF kind = 'protocol' THEN
    EXECUTE format('CREATE FUNCTION realtime.%I() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS %L', name,
      realtime.fields_trigger_body(id, at, ARRAY[used ->> 'id', coalesce(used ->> 'at', used ->> 'id')]::text));
  ELSE
    part := CASE WHEN kind = 'tvl' AND used ? 'chain' THEN format('coalesce(%I::text, '''') COLLATE "C"', used ->> 'chain') ELSE '''''::text COLLATE "C"' END;
    value := format('%I::numeric', used ->> 'value');
    SELECT coalesce('jsonb_strip_nulls(jsonb_build_object(' || string_agg(format('%L, %I', p.key, p.value), ', ') || '))', 'NULL::jsonb')
      INTO extra FROM jsonb_each_text(used) AS p WHERE kind = 'price' AND p.key NOT IN ('id', 'value', 'at');
    -- With a unique key of exactly the subject, a statement has each value once: the rows need not be sorted.
    SELECT EXISTS (
      SELECT FROM pg_index AS i WHERE i.indrelid = relation AND i.indisunique AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
        AND (SELECT array_agg(a.attname::text ORDER BY a.attname) FROM pg_attribute AS a WHERE a.attrelid = relation AND a.attnum = ANY (i.indkey))
          <@ ARRAY[used ->> 'id', CASE WHEN kind = 'tvl' THEN used ->> 'chain' END]
    ) INTO is_unique;
    EXECUTE format('CREATE FUNCTION realtime.%I() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS %L', name,
      realtime.value_trigger_body(kind, id, part, value, at, extra, is_unique));
  END IF;
  IF kind = 'tvl' THEN
    EXECUTE format('CREATE FUNCTION realtime.%I() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS %L', name || '_gone',
      realtime.removal_trigger_body(id, part));
  END IF;
  INSERT INTO realtime.watched VALUES (relation, kind, used, name);
  -- A statement fires only the triggers of the table that it names: so each partition has them too.
  FOR part_relation IN SELECT relation UNION SELECT t.relid FROM pg_partition_tree(relation) AS t LOOP
    EXECUTE format('CREATE TRIGGER realtime_insert AFTER INSERT ON %s REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION realtime.%I()', part_relation, name);
    EXECUTE format('CREATE TRIGGER realtime_update AFTER UPDATE ON %s REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION realtime.%I()', part_relation, name);
    IF kind = 'tvl' THEN
      EXECUTE format('CREATE TRIGGER realtime_delete AFTER DELETE ON %s REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION realtime.%I()', part_relation, name || '_gone');
    END IF;
  END LOOP;
END
$$;

-- Takes detection off a table. What was detected stays in the outbox.
CREATE FUNCTION realtime.unwatch(relation regclass) RETURNS void LANGUAGE plpgsql AS $$
DECLARE name text;
BEGIN
  DELETE FROM realtime.watched AS w WHERE w.relation = unwatch.relation RETURNING w.function INTO name;
  IF NOT FOUND THEN RAISE EXCEPTION '% is not watched', relation; END IF;
  EXECUTE format('DROP FUNCTION realtime.%I() CASCADE', name);
  EXECUTE format('DROP FUNCTION IF EXISTS realtime.%I() CASCADE', name || '_gone');
END
$$;
