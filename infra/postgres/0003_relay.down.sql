-- The role stays: it belongs to the server, and other databases may use it.
DROP VIEW realtime.backlog;
DROP FUNCTION realtime.after_restore, realtime.rotate;
DROP TABLE realtime.aside, realtime.lease, realtime.relay;
REVOKE ALL ON ALL TABLES IN SCHEMA realtime FROM realtime_relay;
REVOKE USAGE ON SCHEMA realtime FROM realtime_relay;
