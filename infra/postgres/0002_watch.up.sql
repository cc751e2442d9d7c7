-- Attaching detection to a table.

-- The trigger functions. A function reads the rows of its statement in rounds: a round has each value at most once, so that one
-- INSERT … ON CONFLICT replaces the last row of each subject and returns what it was. It takes the rows in the order of their
-- ids, and holds them until the commit: writers of one subject wait for each other, and versions are in the order of commits.
-- A table with a unique key of exactly the subject needs one round, and no sorting by time.

-- The frame of all trigger functions. relation: the transition table. valid: the condition of a row that can be judged. one: the
-- path of a statement of one row. value_key: what tells the values of a statement apart, NULL if each is there once. judge: the
-- statement of a round, which returns how many rows were not late, and how many changes it wrote. history: how old a row of
-- history is, ms. A data time after the statement is an error of a clock: it counts as the time of the statement, or it would
-- make every later row late.
CREATE FUNCTION realtime.trigger_body(relation text, valid text, one text, value_key text, history text, judge text) RETURNS text
  LANGUAGE sql IMMUTABLE AS $make$
SELECT format($body$
#variable_conflict use_variable
DECLARE
  began timestamptz := clock_timestamp();
  now_ms bigint := date_part('epoch', began) * 1000;
  state realtime.outbox_state;
  oldest bigint;
  seen_count bigint; valid_count bigint; rounds bigint;
  timely_count bigint; timely_more bigint; significant_count bigint; significant_more bigint;
  -- Of the path of one row: the row, what it replaces, and the thresholds.
  one_count integer := 0; one_id text COLLATE "C"; one_chain text COLLATE "C"; one_value numeric; one_at bigint;
  one_version bigint; one_occurrence integer; newest bigint; last_value numeric; last_at bigint;
  least_percent numeric; least_absolute numeric;
BEGIN
  %6$s
  SELECT count(*), count(*) FILTER (WHERE %2$s) INTO seen_count, valid_count FROM %1$s;
  IF seen_count = 0 THEN RETURN NULL; END IF;
  SELECT * INTO state FROM realtime.outbox_state;
  oldest := now_ms - state.%5$s;
  timely_count := 0;
  significant_count := 0;
  rounds := 1;
  %3$s
  FOR round IN 1 .. rounds LOOP
    %4$s INTO timely_more, significant_more;
    timely_count := timely_count + timely_more;
    significant_count := significant_count + significant_more;
  END LOOP;
  -- NOTIFY takes a lock on the whole database at the commit, so it is silent while relays are awake.
  IF significant_count > 0 AND state.asleep_until > began THEN PERFORM pg_notify('realtime', ''); END IF;
  INSERT INTO realtime.call VALUES (state.active, began, TG_RELID, seen_count, significant_count, valid_count - timely_count,
    seen_count - valid_count, (extract(epoch FROM clock_timestamp() - began) * 1e6)::integer);
  RETURN NULL;
END
$body$, relation, valid,
  CASE WHEN value_key IS NULL THEN '' ELSE format(
    'SELECT coalesce(max(n), 0) INTO rounds FROM (SELECT count(*) AS n FROM %s GROUP BY %s) AS repeated;', relation, value_key) END,
  judge, history, one)
$make$;

-- The path of a statement of one row whose subject is known and which is not late, as most are: a few statements that start fast.
-- Every other row takes the common path. id, chain, value, at: the parts of a row. replace: the statement that replaces the last
-- row of the subject; it finds none if the row is not for this path. after: what follows it. significant: the condition of a
-- change. body: what the outbox holds of it. Figures are kept on one call of 16.
CREATE FUNCTION realtime.one_row(
  kind text, id text, chain text, value text, at text, valid text, replace text, after text, significant text, body text
) RETURNS text LANGUAGE sql IMMUTABLE AS $make$
SELECT format($one$
  FOR one_id, one_chain, one_value, one_at IN
    SELECT %2$s, %3$s, CASE WHEN %6$s THEN %4$s END, least(coalesce(%5$s, now_ms), now_ms) FROM new_rows LIMIT 2
  LOOP
    one_count := one_count + 1;
  END LOOP;
  IF one_count = 1 AND one_value IS NOT NULL THEN
    %7$s
    IF FOUND THEN
      %8$s
      SELECT t.percent, t.absolute INTO least_percent, least_absolute
        FROM realtime.threshold AS t WHERE t.kind = %1$L AND t.id IN ('', one_id) ORDER BY t.id DESC LIMIT 1;
      IF (%9$s) THEN
        significant_count := 1;
        SELECT * INTO state FROM realtime.outbox_state;
        INSERT INTO realtime.outbox (slot, lane, kind, id, version, at, created, silent, body)
          SELECT state.active, realtime.lane(%1$L, one_id), %1$L, one_id, one_version, newest, now_ms, realtime.is_silent(), %10$s
          FROM new_rows;
        IF state.asleep_until > began THEN PERFORM pg_notify('realtime', ''); END IF;
      END IF;
      IF random() < 0.0625 THEN
        INSERT INTO realtime.call SELECT o.active, began, TG_RELID, 1, coalesce(significant_count, 0), 0, 0,
          (extract(epoch FROM clock_timestamp() - began) * 1e6)::integer, 16 FROM realtime.outbox_state AS o;
      END IF;
      RETURN NULL;
    END IF;
  END IF;
$one$, kind, id, chain, value, at, valid, replace, after, significant, body)
$make$;

-- The condition of a row of the path of one row that is no history. A row without a data time never is.
CREATE FUNCTION realtime.one_is_recent(at text) RETURNS text LANGUAGE sql IMMUTABLE
  RETURN CASE WHEN at = 'NULL::bigint' THEN 'true'
    ELSE 'one_at >= now_ms - (SELECT o.history_ms FROM realtime.outbox_state AS o)' END;

-- Of a table of prices.
CREATE FUNCTION realtime.price_trigger_body(id text, value text, at text, extra text, nth text, value_key text, valid text) RETURNS text
  LANGUAGE sql IMMUTABLE AS $make$
SELECT realtime.trigger_body('new_rows', valid,
  realtime.one_row('price', id, 'NULL', value, at, valid, format($replace$
    UPDATE realtime.last_price AS p SET version = p.version + 1, at = greatest(p.at, one_at), previous_at = p.at,
        occurrence = CASE WHEN one_at > p.at THEN 0 ELSE p.occurrence + 1 END, value = one_value, previous = p.value
      WHERE p.id = one_id AND (one_at >= p.at OR one_at = now_ms) AND %s
      RETURNING p.version, p.at, p.previous_at, p.previous, p.occurrence INTO one_version, newest, last_at, last_value, one_occurrence;
    $replace$, realtime.one_is_recent(at)), '',
    'realtime.is_significant(last_value, one_value, least_percent, least_absolute)',
    format($body$jsonb_build_object('value', one_value, 'previous', last_value, 'previousAt', last_at, 'percent', least_percent,
      'absolute', least_absolute, 'occurrence', one_occurrence, 'extra', %s)$body$, extra)),
  value_key, 'history_ms',
  format($judge$
WITH
incoming AS (
  SELECT * FROM (
    SELECT %1$s AS id, %2$s AS value, least(coalesce(%3$s, now_ms), now_ms) AS at, %4$s AS extra, %5$s AS nth
    FROM new_rows WHERE %8$s
  ) AS numbered WHERE nth = round AND numbered.at >= oldest
),
applied AS (
  INSERT INTO realtime.last_price AS p (id, at, value) SELECT i.id, i.at, i.value FROM incoming AS i ORDER BY i.id
  ON CONFLICT (id) DO UPDATE SET version = p.version + 1, at = greatest(p.at, excluded.at), previous_at = p.at,
    occurrence = CASE WHEN excluded.at > p.at THEN 0 ELSE p.occurrence + 1 END, value = excluded.value, previous = p.value
    -- A row of older data is late. One that is as old as its statement is not, though a writer that began later was faster.
    WHERE excluded.at >= p.at OR excluded.at = now_ms
  RETURNING p.id, p.version, p.at, p.value, p.previous, p.previous_at, p.occurrence
),
judged AS (
  SELECT applied.*, coalesce(own.percent, of_kind.percent) AS percent, coalesce(own.absolute, of_kind.absolute) AS absolute
  FROM applied
  CROSS JOIN (SELECT t.percent, t.absolute FROM realtime.threshold AS t WHERE t.kind = 'price' AND t.id = '') AS of_kind
  LEFT JOIN realtime.threshold AS own ON own.kind = 'price' AND own.id = applied.id
),
written AS (
  INSERT INTO realtime.outbox (slot, lane, kind, id, version, at, created, silent, body)
  SELECT state.active, realtime.lane('price', j.id), 'price', j.id, j.version, j.at, now_ms, realtime.is_silent(),
    jsonb_build_object('value', j.value, 'previous', j.previous, 'previousAt', j.previous_at, 'percent', j.percent,
      'absolute', j.absolute, 'occurrence', j.occurrence, 'extra', %6$s)
  FROM judged AS j %7$s
  WHERE realtime.is_significant(j.previous, j.value, j.percent, j.absolute)
  RETURNING 1
)
SELECT (SELECT count(*) FROM applied), (SELECT count(*) FROM written)$judge$, id, value, at, extra, nth,
  CASE WHEN extra = 'NULL::jsonb' THEN 'NULL::jsonb' ELSE 'i.extra' END,
  CASE WHEN extra = 'NULL::jsonb' THEN '' ELSE 'JOIN incoming AS i USING (id)' END, valid))
$make$;

-- Of a table of TVL.
CREATE FUNCTION realtime.tvl_trigger_body(id text, chain text, value text, at text, nth text, value_key text, valid text) RETURNS text
  LANGUAGE sql IMMUTABLE AS $make$
SELECT realtime.trigger_body('new_rows', valid,
  realtime.one_row('tvl', id, chain, value, at, valid, format($replace$
    UPDATE realtime.subject AS s SET version = s.version + 1, at = greatest(s.at, one_at), previous_at = s.at
      WHERE s.kind = 'tvl' AND s.id = one_id AND (one_at >= s.at OR one_at = now_ms) AND %s
      RETURNING s.version, s.at INTO one_version, newest;
    $replace$, realtime.one_is_recent(at)), $parts$
      -- The lock on the subject keeps every other writer away from its parts.
      one_at := CASE WHEN one_at = now_ms THEN newest ELSE one_at END;
      UPDATE realtime.part AS p SET at = one_at, previous_at = p.at, value = one_value, previous = p.value,
          occurrence = CASE WHEN one_at > p.at THEN 0 ELSE p.occurrence + 1 END
        WHERE p.id = one_id AND p.chain = one_chain
        RETURNING p.previous_at, p.previous, p.occurrence INTO last_at, last_value, one_occurrence;
      IF NOT FOUND THEN
        INSERT INTO realtime.part (id, chain, at, value) VALUES (one_id, one_chain, one_at, one_value);
        one_occurrence := 0;
      END IF;$parts$,
    $$CASE WHEN last_value IS NULL THEN one_chain <> '' AND abs(one_value) >= least_absolute
      ELSE realtime.is_significant(last_value, one_value, least_percent, least_absolute) END$$,
    $$jsonb_build_object('parts', jsonb_build_object(one_chain, jsonb_build_array(one_value, last_value, last_at, one_occurrence)),
      'known', true, 'percent', least_percent, 'absolute', least_absolute)$$),
  value_key, 'history_ms', format($judge$
WITH
incoming AS MATERIALIZED (
  SELECT * FROM (
    SELECT %1$s AS id, %2$s AS chain, %3$s AS value, least(coalesce(%4$s, now_ms), now_ms) AS at, %5$s AS nth
    FROM new_rows WHERE %6$s
  ) AS numbered WHERE nth = round AND numbered.at >= oldest
),
subject AS (
  INSERT INTO realtime.subject AS s (kind, id, at)
  SELECT 'tvl', i.id, max(i.at) FROM incoming AS i GROUP BY i.id ORDER BY i.id
  ON CONFLICT (kind, id) DO UPDATE SET version = s.version + 1, at = greatest(s.at, excluded.at), previous_at = s.at
  RETURNING s.id, s.version, s.at, s.previous_at
),
timely AS (
  SELECT i.id, i.chain, i.value, CASE WHEN i.at = now_ms THEN subject.at ELSE i.at END AS at
  FROM incoming AS i JOIN subject USING (id)
  WHERE subject.previous_at IS NULL OR i.at >= subject.previous_at OR i.at = now_ms
),
applied AS (
  INSERT INTO realtime.part AS p (id, chain, at, value) SELECT t.id, t.chain, t.at, t.value FROM timely AS t ORDER BY t.id, t.chain
  ON CONFLICT (id, chain) DO UPDATE SET at = excluded.at, previous_at = p.at, value = excluded.value, previous = p.value,
    occurrence = CASE WHEN excluded.at > p.at THEN 0 ELSE p.occurrence + 1 END
  RETURNING p.id, p.chain, p.at, p.value, p.previous, p.previous_at, p.occurrence
),
judged AS (
  SELECT a.*, subject.version, subject.previous_at IS NOT NULL AS known,
    coalesce(own.percent, of_kind.percent) AS percent, coalesce(own.absolute, of_kind.absolute) AS absolute,
    CASE WHEN a.previous IS NULL
      THEN a.chain <> '' AND subject.previous_at IS NOT NULL AND abs(a.value) >= coalesce(own.absolute, of_kind.absolute)
      ELSE realtime.is_significant(a.previous, a.value, coalesce(own.percent, of_kind.percent), coalesce(own.absolute, of_kind.absolute))
    END AS significant
  FROM applied AS a JOIN subject USING (id)
  CROSS JOIN (SELECT t.percent, t.absolute FROM realtime.threshold AS t WHERE t.kind = 'tvl' AND t.id = '') AS of_kind
  LEFT JOIN realtime.threshold AS own ON own.kind = 'tvl' AND own.id = a.id
),
written AS (
  -- A change carries every value of its row, as an event shows the whole breakdown.
  INSERT INTO realtime.outbox (slot, lane, kind, id, version, at, created, silent, body)
  SELECT state.active, realtime.lane('tvl', j.id), 'tvl', j.id, j.version, j.at, now_ms, realtime.is_silent(),
    jsonb_build_object('parts', jsonb_object_agg(j.chain, jsonb_build_array(j.value, j.previous, j.previous_at, j.occurrence)),
      'known', bool_or(j.known), 'percent', min(j.percent), 'absolute', min(j.absolute))
  FROM judged AS j WHERE (j.id, j.at) IN (SELECT k.id, k.at FROM judged AS k WHERE k.significant)
  GROUP BY j.id, j.at, j.version
  RETURNING 1
)
SELECT (SELECT count(*) FROM timely), (SELECT count(*) FROM written)$judge$, id, chain, value, at, nth, valid))
$make$;

-- Of a table of TVL whose rows were deleted: a chain that vanishes is a change.
CREATE FUNCTION realtime.removal_trigger_body(id text, chain text) RETURNS text LANGUAGE sql IMMUTABLE AS $make$
SELECT realtime.trigger_body('old_rows', 'true', '', NULL, 'history_ms', format($judge$
WITH
removed AS MATERIALIZED (SELECT DISTINCT %1$s AS id, %2$s AS chain FROM old_rows WHERE %1$s IS NOT NULL),
subject AS (
  -- A removal has no data time: it is as old as the last row. Later rows are not late for it.
  UPDATE realtime.subject AS s SET version = s.version + 1, previous_at = s.at,
    removals = CASE WHEN s.removals_at = s.at THEN s.removals + 1 ELSE 0 END, removals_at = s.at
  FROM (
    SELECT l.id FROM realtime.subject AS l WHERE l.kind = 'tvl' AND l.id IN (SELECT r.id FROM removed AS r) ORDER BY l.id FOR UPDATE
  ) AS locked
  WHERE s.kind = 'tvl' AND s.id = locked.id
  RETURNING s.id, s.version, s.at, s.removals
),
gone AS (
  DELETE FROM realtime.part AS p USING removed AS r, subject WHERE p.id = r.id AND p.chain = r.chain AND subject.id = p.id
  RETURNING p.id, p.chain, p.value, p.at AS last_at, subject.version, subject.at, subject.removals
),
judged AS (
  SELECT gone.*, coalesce(own.percent, of_kind.percent) AS percent, coalesce(own.absolute, of_kind.absolute) AS absolute
  FROM gone
  CROSS JOIN (SELECT t.percent, t.absolute FROM realtime.threshold AS t WHERE t.kind = 'tvl' AND t.id = '') AS of_kind
  LEFT JOIN realtime.threshold AS own ON own.kind = 'tvl' AND own.id = gone.id
),
written AS (
  INSERT INTO realtime.outbox (slot, lane, kind, id, version, at, created, silent, body)
  SELECT state.active, realtime.lane('tvl', j.id), 'tvl', j.id, j.version, j.at, now_ms, realtime.is_silent(),
    jsonb_build_object('parts', '{}'::jsonb, 'known', true, 'percent', min(j.percent), 'absolute', min(j.absolute),
      'gone', jsonb_object_agg(j.chain, jsonb_build_array(j.value, j.last_at, j.removals)))
  FROM judged AS j GROUP BY j.id, j.version, j.at
  HAVING bool_or(j.chain <> '' AND abs(j.value) >= j.absolute)
  RETURNING 1
)
SELECT (SELECT count(*) FROM old_rows), (SELECT count(*) FROM written)$judge$, id, chain))
$make$;

-- Of a table of protocols.
CREATE FUNCTION realtime.fields_trigger_body(id text, at text, not_fields text, nth text, value_key text, valid text) RETURNS text
  LANGUAGE sql IMMUTABLE AS $make$
SELECT realtime.trigger_body('new_rows', valid, '', value_key, 'protocol_history_ms', format($judge$
WITH
incoming AS (
  SELECT * FROM (
    SELECT %1$s AS id, least(coalesce(%2$s, now_ms), now_ms) AS at, jsonb_strip_nulls(to_jsonb(new_rows) - %3$L::text[]) AS fields, %4$s AS nth
    FROM new_rows WHERE %5$s
  ) AS numbered WHERE nth = round AND numbered.at >= oldest
),
applied AS (
  INSERT INTO realtime.subject AS s (kind, id, at, fields) SELECT 'protocol', i.id, i.at, i.fields FROM incoming AS i ORDER BY i.id
  ON CONFLICT (kind, id) DO UPDATE SET version = s.version + 1, at = greatest(s.at, excluded.at), previous_at = s.at,
    occurrence = CASE WHEN excluded.at > s.at THEN 0 ELSE s.occurrence + 1 END, fields = excluded.fields, previous_fields = s.fields
    WHERE excluded.at >= s.at OR excluded.at = now_ms
  RETURNING s.id, s.version, s.at, s.fields, s.previous_fields, s.occurrence
),
written AS (
  INSERT INTO realtime.outbox (slot, lane, kind, id, version, at, created, silent, body)
  SELECT state.active, realtime.lane('protocol', id), 'protocol', id, version, at, now_ms, realtime.is_silent(),
    jsonb_build_object('fields', fields, 'previous', previous_fields, 'occurrence', occurrence)
  FROM applied WHERE previous_fields <> fields
  RETURNING 1
)
SELECT (SELECT count(*) FROM applied), (SELECT count(*) FROM written)$judge$, id, at, not_fields, nth, valid))
$make$;

-- The expression that reads a data time, in ms since 1970, from a column: a timestamp, or seconds or milliseconds.
CREATE FUNCTION realtime.time_expression(relation regclass, name text) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE type regtype;
BEGIN
  IF name IS NULL THEN RETURN 'NULL::bigint'; END IF;
  SELECT a.atttypid INTO type FROM pg_attribute AS a WHERE a.attrelid = relation AND a.attname = name;
  CASE
    WHEN type IN ('timestamptz'::regtype, 'timestamp'::regtype) THEN
      RETURN format('(extract(epoch FROM new_rows.%I%s) * 1000)::bigint', name, CASE WHEN type = 'timestamp'::regtype THEN ' AT TIME ZONE ''UTC''' ELSE '' END);
    WHEN type IN ('int4'::regtype, 'int8'::regtype, 'numeric'::regtype) THEN
      RETURN format('CASE WHEN new_rows.%1$I < 100000000000 THEN new_rows.%1$I * 1000::bigint ELSE new_rows.%1$I END::bigint', name);
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
  -- A session keeps its plans: one made while a table was small must not scan it when it has grown. The costs of such a plan would
  -- start the compiler of expressions, which takes 100 ms. A large statement sorts its rows.
  attributes constant text := 'LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off SET work_mem = ''32MB''';
  all_columns constant text[] := ARRAY(SELECT a.attname FROM pg_attribute AS a WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped);
  used jsonb;
  -- Names have at most 63 bytes. Two tables can have one name, in two schemas.
  name text := 'on_' || left((SELECT c.relname FROM pg_class AS c WHERE c.oid = relation), 40);
  same integer;
  unknown text;
  id text; part text; value text; at text; extra text; nth text; value_key text; valid text; is_unique boolean;
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
  -- With the name of the transition table, no column is taken for a variable of the function.
  id := format('new_rows.%I::text COLLATE "C"', used ->> 'id');
  at := realtime.time_expression(relation, used ->> 'at');
  part := CASE WHEN kind = 'tvl' AND used ? 'chain' THEN format('coalesce(new_rows.%I::text, '''') COLLATE "C"', used ->> 'chain') ELSE '''''::text COLLATE "C"' END;
  IF used ? 'value' THEN value := format('realtime.decimal(new_rows.%I::numeric)', used ->> 'value'); END IF;
  -- With a unique key of exactly the subject, a statement has each value once.
  SELECT EXISTS (
    SELECT FROM pg_index AS i WHERE i.indrelid = relation AND i.indisunique AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
      AND (SELECT array_agg(a.attname::text) FROM pg_attribute AS a WHERE a.attrelid = relation AND a.attnum = ANY (i.indkey))
        <@ ARRAY[used ->> 'id', CASE WHEN kind = 'tvl' THEN used ->> 'chain' END]
  ) INTO is_unique;
  IF NOT is_unique THEN value_key := concat_ws(', ', id, CASE WHEN kind = 'tvl' THEN part END); END IF;
  -- The number of a row among those of its value: in the order of their times, then of the statement.
  nth := CASE WHEN is_unique THEN '1' ELSE format('row_number() OVER (PARTITION BY %s ORDER BY %s)', value_key, at) END;
  -- No NaN, no infinity, nothing that DynamoDB could not hold, no negative price.
  valid := format('%s IS NOT NULL', id) || CASE WHEN value IS NULL THEN '' ELSE
    format(' AND new_rows.%I::numeric BETWEEN %s AND 9.9e125', used ->> 'value', CASE kind WHEN 'price' THEN '0' ELSE '-9.9e125' END) END;
  SELECT coalesce('jsonb_strip_nulls(jsonb_build_object(' || string_agg(format('%L, new_rows.%I', p.key, p.value), ', ') || '))', 'NULL::jsonb')
    INTO extra FROM jsonb_each_text(used) AS p WHERE kind = 'price' AND p.key NOT IN ('id', 'value', 'at');
  EXECUTE format('CREATE FUNCTION realtime.%I() RETURNS trigger %s AS %L', name, attributes,
    CASE kind
      WHEN 'price' THEN realtime.price_trigger_body(id, value, at, extra, nth, value_key, valid)
      WHEN 'tvl' THEN realtime.tvl_trigger_body(id, part, value, at, nth, value_key, valid)
      ELSE realtime.fields_trigger_body(id, at, ARRAY[used ->> 'id', coalesce(used ->> 'at', used ->> 'id')]::text, nth, value_key, valid)
    END);
  IF kind = 'tvl' THEN
    EXECUTE format('CREATE FUNCTION realtime.%I() RETURNS trigger %s AS %L', name || '_gone', attributes,
      realtime.removal_trigger_body(replace(id, 'new_rows.', 'old_rows.'), replace(part, 'new_rows.', 'old_rows.')));
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
