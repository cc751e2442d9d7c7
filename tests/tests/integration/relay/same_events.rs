//! The same data through DynamoDB's stream and through PostgreSQL: the same events.
//!
//! `RELAY_STREAM=FILE` takes the records of a file (`make verify-postgres STREAM=FILE`).

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use events_core::event::Event;
use events_core::plan::Config;
use events_core::source::dynamodb::decode_batch;
use events_core::source::postgres::decode;
use events_core::source::{Record, RecordContent, Row, SourceRow};
use events_harness::generated::{stream, stream_from_env};
use events_harness::processors::{MemoryProcessor, in_memory};
use events_harness::servers::postgres::Database;
use serde_json::Value;

use super::outbox_entries;

/// By message group: data time, and what identifies the event and its values.
type Events = BTreeMap<String, Vec<(i64, Seen)>>;

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    id: String,
    kind: String,
    chain: String,
    previous: String,
    current: String,
}

fn seen(event: &Event) -> (String, Seen) {
    let json: Value = serde_json::from_str(&event.to_json().unwrap()).unwrap();
    let data = &json["data"];
    let either = |names: [&str; 2]| names.iter().map(|name| data[*name].to_string()).collect::<String>();
    let seen = Seen {
        id: event.event_id.clone(),
        kind: json["eventType"].to_string(),
        chain: data["chain"].to_string(),
        previous: either(["previousTvl", "previousPrice"]),
        current: format!("{}{}", either(["currentTvl", "currentPrice"]), data["changes"]),
    };
    (event.subject().group_id(), seen)
}

fn row(record: &Record) -> Option<&SourceRow> {
    match &record.content {
        RecordContent::Row(row) => Some(row),
        RecordContent::Skipped(_) | RecordContent::Undecodable(_) => None,
    }
}

/// Processes records, and collects their events. `wanted` are the records whose events count.
async fn events(processor: &MemoryProcessor, records: Vec<Record>, wanted: impl Fn(usize) -> bool) -> Events {
    let mut all = Events::new();
    let (mut first, mut rest) = (0, records);
    while !rest.is_empty() {
        let next = rest.split_off(rest.len().min(100));
        let times: Vec<i64> =
            rest.iter().map(|record| row(record).map_or(0, |row| row.data_time_ms)).collect();
        let deadline = processor.deadline(Duration::from_secs(60), Duration::from_secs(1));
        let outcome = processor.process(rest, deadline).await;
        assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
        for (index, record) in outcome.records.iter().enumerate().filter(|(index, _)| wanted(first + index)) {
            for event in &record.events {
                let (group, seen) = seen(event);
                all.entry(group).or_default().push((times[index], seen));
            }
        }
        first += times.len();
        rest = next;
    }
    for events in all.values_mut() {
        // The events of one row have no order of their own; those of several rows keep theirs.
        assert!(events.is_sorted_by_key(|(time, _)| *time), "{events:?}");
        events.sort();
    }
    all
}

/// Writes a row as an application would: what it states is upserted, chains that it lacks are deleted.
async fn write(database: &Database, source: &SourceRow) {
    let at = "to_timestamp($1 / 1000.0)";
    let mut transaction = database.pool.begin().await.unwrap();
    match &source.row {
        Row::Tvl(row) => {
            let total = row.total.iter().map(|total| (String::new(), total.canonical()));
            let chains = row.chains.iter().map(|(chain, value)| (chain.clone(), value.canonical()));
            let (chains, values): (Vec<String>, Vec<String>) = total.chain(chains).unzip();
            let upsert = format!(
                "INSERT INTO realtime.tvl SELECT $2, n.chain, n.value::numeric, {at} FROM unnest($3::text[], $4::text[]) AS n(chain, value)
                 ON CONFLICT (protocol_id, chain) DO UPDATE SET tvl = excluded.tvl, at = excluded.at"
            );
            let kept: Vec<&String> = chains.iter().chain(&row.unknown_chains).collect();
            let upsert = sqlx::query(sqlx::AssertSqlSafe(upsert));
            let upsert = upsert.bind(source.data_time_ms).bind(&row.protocol_id).bind(&chains).bind(&values);
            upsert.execute(&mut *transaction).await.unwrap();
            let delete =
                "DELETE FROM realtime.tvl WHERE protocol_id = $1 AND chain <> '' AND NOT chain = ANY ($2)";
            let kept: Vec<String> = kept.into_iter().cloned().collect();
            sqlx::query(delete).bind(&row.protocol_id).bind(kept).execute(&mut *transaction).await.unwrap();
        }
        Row::Price(row) => {
            let upsert = format!(
                "INSERT INTO realtime.prices (token_id, price, at) VALUES ($2, $3::text::numeric, {at})
                 ON CONFLICT (token_id) DO UPDATE SET price = excluded.price, at = excluded.at"
            );
            let upsert = sqlx::query(sqlx::AssertSqlSafe(upsert));
            let upsert = upsert.bind(source.data_time_ms).bind(&row.token_id).bind(row.price.canonical());
            upsert.execute(&mut *transaction).await.unwrap();
        }
        Row::Protocol(_) => {}
    }
    transaction.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_gives_the_events_of_the_stream_of_the_same_data() {
    let records = stream_from_env("RELAY_STREAM", || stream(7, 3_000));
    let now_ms = 1_900_000_000_000;
    let records = decode_batch(records.iter().map(AsRef::as_ref), now_ms);
    // A stream delivers a record again; an application writes each row once, and the latest last. Of several rows of one
    // time only the first is kept: which of them an event belongs to is known from the stream alone if chains come and go. What a source compares
    // the first row of a key with differs: the old image, the hour before.
    let (mut known, mut latest, mut keys) = (HashSet::new(), BTreeMap::new(), BTreeSet::new());
    let (mut kept, mut first) = (Vec::new(), Vec::new());
    for record in records {
        let Some(row) = row(&record) else { continue };
        let is_new = known.insert((row.stream.clone(), row.sequence.to_string(), row.pk.clone()));
        let last = latest.entry(row.pk.clone()).or_insert(i64::MIN);
        if is_new && row.data_time_ms > *last && !matches!(row.row, Row::Protocol(_)) {
            *last = row.data_time_ms;
            first.push(keys.insert(row.pk.clone()));
            kept.push(record);
        }
    }
    let database = super::database().await;
    database.run("UPDATE realtime.outbox_state SET history_ms = 1e13").await;
    for row in kept.iter().filter_map(row) {
        write(&database, row).await;
    }
    let rows = kept.len();
    let of_stream = events(&in_memory(Config::default()), kept, |index| !first[index]).await;

    let entries = outbox_entries(&database).await;
    let entries: Vec<Record> = entries.iter().map(|entry| decode(entry, "db")).collect();
    let of_postgres = events(&in_memory(Config::default()), entries, |_| true).await;

    let count = |events: &Events| events.values().map(Vec::len).sum::<usize>();
    println!("{rows} rows, {} events, {} of them through PostgreSQL", count(&of_stream), count(&of_postgres));
    assert!(count(&of_stream) * 4 > rows, "{} events of {rows} rows", count(&of_stream));
    for group in of_stream.keys().chain(of_postgres.keys()) {
        let (stream, postgres) = (of_stream.get(group), of_postgres.get(group));
        if stream != postgres {
            let (stream, postgres) = (stream.into_iter().flatten(), postgres.into_iter().flatten());
            let of_postgres: BTreeSet<_> = postgres.clone().collect();
            let of_stream: BTreeSet<_> = stream.clone().collect();
            panic!(
                "{group}: {} and {} events; only from the stream: {:?}; only from PostgreSQL: {:?}",
                stream.count(),
                postgres.count(),
                of_stream.difference(&of_postgres).take(3).collect::<Vec<_>>(),
                of_postgres.difference(&of_stream).take(3).collect::<Vec<_>>()
            );
        }
    }
}
