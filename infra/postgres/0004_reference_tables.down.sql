-- The role stays: it belongs to the server, and other databases may use it.
SELECT realtime.unwatch('realtime.protocols');
SELECT realtime.unwatch('realtime.tvl');
SELECT realtime.unwatch('realtime.prices');
DROP TABLE realtime.protocols, realtime.tvl, realtime.prices;
REVOKE USAGE ON SCHEMA realtime FROM realtime_writer;
