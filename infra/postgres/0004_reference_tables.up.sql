-- Tables for those who have none yet. Detection works on any table: see realtime.watch.

CREATE TABLE realtime.protocols (
  id text PRIMARY KEY,
  name text,
  slug text,
  symbol text,
  category text,
  chains text[],
  url text,
  logo text,
  twitter text,
  parent_protocol text,
  status text,
  rugged boolean,
  deprecated boolean,
  dead_url boolean,
  dead_from bigint,
  at timestamptz
);
COMMENT ON TABLE realtime.protocols IS 'Metadata of protocols. at: data time; NULL: the time of the statement.';

CREATE TABLE realtime.tvl (
  protocol_id text NOT NULL,
  chain text NOT NULL DEFAULT '',
  tvl numeric NOT NULL,
  at timestamptz,
  PRIMARY KEY (protocol_id, chain)
);
COMMENT ON TABLE realtime.tvl IS 'TVL of a protocol, USD: on a chain, and in total under the empty chain. at: data time; NULL: the time of the statement.';

CREATE TABLE realtime.prices (
  token_id text PRIMARY KEY,
  price numeric NOT NULL,
  symbol text,
  chain text,
  decimals smallint,
  confidence double precision,
  volume24h numeric,
  market_cap numeric,
  adapter text,
  at timestamptz
);
COMMENT ON TABLE realtime.prices IS 'Prices of tokens, USD. token_id: a CoinGecko id, or chain:address. at: data time; NULL: the time of the statement.';

SELECT realtime.watch('realtime.protocols', 'protocol');
SELECT realtime.watch('realtime.tvl', 'tvl');
SELECT realtime.watch('realtime.prices', 'price');

-- For applications that write these tables.
DO $$
BEGIN
  CREATE ROLE realtime_writer NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
  NULL; -- Roles belong to the server: another database of it has made the role.
END
$$;
GRANT USAGE ON SCHEMA realtime TO realtime_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON realtime.protocols, realtime.tvl, realtime.prices TO realtime_writer;
