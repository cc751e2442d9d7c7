-- Takes detection off every table.
DO $$
DECLARE watched record;
BEGIN
  FOR watched IN SELECT relation FROM realtime.watched LOOP
    PERFORM realtime.unwatch(watched.relation);
  END LOOP;
END
$$;
DROP FUNCTION realtime.unwatch, realtime.watch, realtime.time_expression, realtime.fields_trigger_body,
  realtime.removal_trigger_body, realtime.tvl_trigger_body, realtime.price_trigger_body, realtime.one_row, realtime.one_is_recent,
  realtime.trigger_body;
