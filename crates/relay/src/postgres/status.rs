//! What waits, as text.

use std::fmt::Write as _;

use sqlx::{PgPool, Row};

use super::migrations::{applied, latest};

/// The state of the outbox and of the relays, as text for an operator.
pub async fn status(database: &PgPool) -> Result<String, String> {
    let version = applied(database).await?;
    let mut text = format!("migrations: {version} of {}\n", latest());
    if version < 3 {
        return Ok(text + "the schema is missing or old: run `relay migrate`\n");
    }
    let failed = |error: sqlx::Error| error.to_string();
    let rows = sqlx::query(
        "SELECT coalesce(relay, '') AS relay, count(*) AS lanes, sum(changes)::int8 AS changes, sum(aside)::int8 AS aside,
           coalesce((extract(epoch FROM clock_timestamp()) * 1000)::int8 - min(oldest), 0) AS lag_ms,
           coalesce(extract(epoch FROM min(until) - clock_timestamp())::float8, 0) AS lease_s
         FROM realtime.backlog GROUP BY relay ORDER BY relay",
    )
    .fetch_all(database)
    .await
    .map_err(failed)?;
    for row in rows {
        let relay: String = row.try_get("relay").map_err(failed)?;
        let number = |name: &str| row.try_get::<i64, _>(name).map_err(failed);
        let lease: f64 = row.try_get("lease_s").map_err(failed)?;
        let holder = match (relay.is_empty(), lease > 0.0) {
            (true, _) => "no relay".to_owned(),
            (false, true) => format!("relay {relay}, lease {lease:.1} s"),
            (false, false) => format!("relay {relay}, which is gone"),
        };
        // Writing to a string cannot fail.
        let _infallible = writeln!(
            text,
            "{} lanes: {holder}; {} changes wait, the oldest for {} ms; {} set aside",
            number("lanes")?,
            number("changes")?,
            number("lag_ms")?,
            number("aside")?,
        );
    }
    let figures = sqlx::query(
        "SELECT relation::text AS relation, calls, rows_seen::int8, rows_significant::int8, p50_ms::float8, p99_ms::float8
         FROM realtime.trigger_stats ORDER BY relation::text",
    )
    .fetch_all(database)
    .await
    .map_err(failed)?;
    for row in figures {
        let relation: String = row.try_get("relation").map_err(failed)?;
        let number = |name: &str| row.try_get::<i64, _>(name).map_err(failed);
        let millis = |name: &str| row.try_get::<f64, _>(name).map_err(failed);
        let _infallible = writeln!(
            text,
            "triggers of {relation}: {} calls, {} rows, {} significant; p50 {:.2} ms, p99 {:.2} ms",
            number("calls")?,
            number("rows_seen")?,
            number("rows_significant")?,
            millis("p50_ms")?,
            millis("p99_ms")?,
        );
    }
    Ok(text)
}
