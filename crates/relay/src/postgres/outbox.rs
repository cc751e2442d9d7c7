//! The statements of the outbox.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use events_core::source::postgres::OutboxEntry;
use sqlx::postgres::{PgListener, PgRow};
use sqlx::{PgPool, Row};
use tokio::sync::Mutex;

use super::connect::reach;
use crate::outbox::{Held, LaneSet, Outbox, OutboxError, Page, PageRequest, Snapshot, Waiting};

/// The channel of the doorbell.
const CHANNEL: &str = "realtime";
/// Longest wait for an answer. Longer than the timeout of a statement: a connection that is dead gives none.
const ANSWER: Duration = Duration::from_secs(12);
/// A table of the outbox that is larger is left by the writers at once.
const BIG: i64 = 16 * 1024 * 1024;

/// The outbox of a database.
#[derive(Debug)]
pub struct PostgresOutbox {
    database: PgPool,
    listener: Mutex<Option<PgListener>>,
}

impl PostgresOutbox {
    /// Waits for an answer, but not for ever.
    async fn answer<R>(&self, call: impl Future<Output = Result<R, sqlx::Error>>) -> Result<R, OutboxError> {
        let answer = tokio::time::timeout(ANSWER, call).await;
        let error = match answer {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(sqlx::Error::PoolTimedOut)) => match reach(&self.database).await {
                Err(cause) => cause,
                Ok(()) => sqlx::Error::PoolTimedOut,
            },
            Ok(Err(error)) => error,
            Err(_) => return Err(OutboxError::Failed(format!("no answer within {} s", ANSWER.as_secs()))),
        };
        Err(if is_denied(&error) { OutboxError::Denied(error.to_string()) } else { failed(error) })
    }

    /// The outbox behind a pool of connections.
    pub fn new(database: PgPool) -> Self {
        Self { database, listener: Mutex::new(None) }
    }

    /// The name of the database, for the versions of rows: no other database in the world has it.
    ///
    /// Fails if the schema is missing, or if the database was restored from a dump.
    pub async fn identify(&self) -> Result<String, OutboxError> {
        let ready = "SELECT to_regclass('realtime.lease') IS NOT NULL";
        let ready: bool = self.answer(sqlx::query_scalar(ready).fetch_one(&self.database)).await?;
        if !ready {
            return Err(OutboxError::Failed("the schema is missing or old: run `relay migrate`".to_owned()));
        }
        let restored = "SELECT coalesce(bool_or(pg_snapshot_xmax(done) > pg_snapshot_xmax(pg_current_snapshot())), false) \
                        FROM realtime.lease";
        let restored: bool = self.answer(sqlx::query_scalar(restored).fetch_one(&self.database)).await?;
        if restored {
            return Err(OutboxError::Failed(
                "the database was restored from a dump, and its transactions are counted anew: run \
                 `SELECT realtime.after_restore()` as the owner of the schema, once"
                    .to_owned(),
            ));
        }
        let name =
            "SELECT 'postgres:' || system_identifier || '/' || current_database() FROM pg_control_system()";
        match self.answer(sqlx::query_scalar(name).fetch_one(&self.database)).await {
            Ok(name) => Ok(name),
            // Some managed databases keep the function to themselves.
            Err(_) => {
                let name = "SELECT 'postgres:' || oid || '/' || datname FROM pg_database WHERE datname = current_database()";
                self.answer(sqlx::query_scalar(name).fetch_one(&self.database)).await
            }
        }
    }
}

fn failed(error: impl Display) -> OutboxError {
    OutboxError::Failed(error.to_string())
}

/// Class 28: a wrong password, or a role that may not log in.
fn is_denied(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code.starts_with("28"))
}

fn lanes_and_snapshots(held: &Held) -> (Vec<i16>, Vec<String>) {
    held.iter().map(|(lane, done)| (*lane, done.0.clone())).unzip()
}

fn waiting(row: &PgRow) -> Result<Waiting, sqlx::Error> {
    Ok(Waiting {
        lane: row.try_get("lane")?,
        entry: OutboxEntry {
            kind: row.try_get("kind")?,
            id: row.try_get("id")?,
            version: row.try_get("version")?,
            at: row.try_get("at")?,
            created: row.try_get("created")?,
            silent: row.try_get("silent")?,
            body: row.try_get("body")?,
        },
    })
}

/// Takes a lease; lanes that bear its name are of an earlier one, which was lost.
const JOIN: &str = "WITH freed AS (UPDATE realtime.lease SET relay = NULL WHERE relay = $1)
    INSERT INTO realtime.relay (id, until) VALUES ($1, clock_timestamp() + $2 * interval '1 ms')
    ON CONFLICT (id) DO UPDATE SET until = excluded.until";
const BEAT: &str = "UPDATE realtime.relay SET until = clock_timestamp() + $2 * interval '1 ms' WHERE id = $1
    RETURNING (SELECT count(*) FROM realtime.relay WHERE until > clock_timestamp() OR id = $1)";
/// Whoever is past its lease is gone. The statement waits for a beat that is under way, and then leaves that relay alone.
const BURY: &str = "DELETE FROM realtime.relay WHERE until < clock_timestamp()";
const CALL: &str = "UPDATE realtime.relay SET calls = $2 WHERE id = $1 AND calls < $2";
const FREE_UNKNOWN: &str = "UPDATE realtime.lease SET relay = NULL WHERE relay = $1 AND $2 >> lane & 1 = 0";
const TAKE: &str = "WITH free AS (
        SELECT lane FROM realtime.lease
        WHERE relay IS NULL OR relay NOT IN (SELECT id FROM realtime.relay)
        ORDER BY lane LIMIT $2 FOR UPDATE SKIP LOCKED
    )
    UPDATE realtime.lease AS l SET relay = $1 FROM free WHERE l.lane = free.lane
    RETURNING l.lane, l.done::text AS done";
const SAVE: &str = "UPDATE realtime.lease AS l SET done = held.done::pg_snapshot
    FROM unnest($2::int2[], $3::text[]) AS held(lane, done) WHERE l.lane = held.lane AND l.relay = $1";
const GIVE_BACK: &str = "WITH current AS (UPDATE realtime.relay SET calls = $4 WHERE id = $1 AND calls < $4 RETURNING id)
    UPDATE realtime.lease AS l SET done = held.done::pg_snapshot, relay = NULL
    FROM unnest($2::int2[], $3::text[]) AS held(lane, done), current WHERE l.lane = held.lane AND l.relay = $1";
/// What is visible now and was not visible in the snapshot of its lane: of a transaction that ran then, or that began later.
/// The snapshot of the statement is what the page is read in.
const READ: &str = "SELECT pg_current_snapshot()::text AS now, o.*
    FROM (SELECT 1) AS one LEFT JOIN (
        SELECT o.lane, o.kind, o.id, o.version, o.at, o.created, o.silent, o.body::text AS body
        FROM unnest($1::text[], $2::int4[]) AS held(done, lanes)
        CROSS JOIN LATERAL (
            SELECT * FROM realtime.outbox AS o WHERE o.xid >= pg_snapshot_xmax(held.done::pg_snapshot)
            UNION ALL
            SELECT o.* FROM pg_snapshot_xip(held.done::pg_snapshot) AS running(xid) JOIN realtime.outbox AS o USING (xid)
        ) AS o
        WHERE held.lanes >> o.lane & 1 = 1
          AND ($3::text IS NULL OR pg_visible_in_snapshot(o.xid, $3::pg_snapshot))
          AND ($4::text IS NULL OR (o.kind COLLATE \"C\", o.id COLLATE \"C\", o.version, o.at) > ($4, $5, $6, $7))
        ORDER BY o.kind COLLATE \"C\", o.id COLLATE \"C\", o.version, o.at LIMIT $8
    ) AS o ON true";
const SET_ASIDE: &str = "INSERT INTO realtime.aside (lane, kind, id, version, at, created, silent, body, reason)
    SELECT lane, kind, id, version, at, created, silent, body::jsonb, reason
    FROM unnest($1::int2[], $2::text[], $3::text[], $4::int8[], $5::int8[], $6::int8[], $7::bool[], $8::text[], $9::text[])
      AS new(lane, kind, id, version, at, created, silent, body, reason)
    ON CONFLICT DO NOTHING";
const ASIDE: &str =
    "SELECT lane, kind, id, version, at, created, silent, body::text AS body FROM realtime.aside
    WHERE $1 >> lane & 1 = 1 ORDER BY kind COLLATE \"C\", id, version, at LIMIT $2";
const FORGET: &str = "DELETE FROM realtime.aside AS a
    USING unnest($1::text[], $2::text[], $3::int8[], $4::int8[]) AS done(kind, id, version, at)
    WHERE (a.kind, a.id, a.version, a.at) = (done.kind, done.id, done.version, done.at)";

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

impl Outbox for PostgresOutbox {
    async fn join(&self, relay: &str, lease: Duration) -> Result<(), OutboxError> {
        self.answer(sqlx::query(JOIN).bind(relay).bind(millis(lease)).execute(&self.database))
            .await
            .map(|_| ())
    }

    async fn beat(&self, relay: &str, lease: Duration) -> Result<Option<usize>, OutboxError> {
        let beat = sqlx::query_scalar(BEAT).bind(relay).bind(millis(lease)).fetch_optional(&self.database);
        let living: Option<i64> = self.answer(beat).await?;
        Ok(living.map(|living| usize::try_from(living).unwrap_or(1)))
    }

    async fn take(&self, relay: &str, call: i64, known: LaneSet, most: usize) -> Result<Held, OutboxError> {
        let taken = async {
            let mut transaction = self.database.begin().await?;
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            sqlx::query(BURY).execute(&mut *transaction).await?;
            let current = sqlx::query(CALL).bind(relay).bind(call).execute(&mut *transaction).await?;
            if current.rows_affected() == 0 {
                // The lease is lost, or a later call was faster.
                return Ok(Held::new());
            }
            sqlx::query(FREE_UNKNOWN).bind(relay).bind(known.0).execute(&mut *transaction).await?;
            let rows = sqlx::query(TAKE).bind(relay).bind(most).fetch_all(&mut *transaction).await?;
            transaction.commit().await?;
            rows.iter().map(|row| Ok((row.try_get("lane")?, Snapshot(row.try_get("done")?)))).collect()
        };
        self.answer(taken).await
    }

    async fn save(&self, relay: &str, held: &Held) -> Result<(), OutboxError> {
        let (lanes, done) = lanes_and_snapshots(held);
        self.answer(sqlx::query(SAVE).bind(relay).bind(lanes).bind(done).execute(&self.database))
            .await
            .map(|_| ())
    }

    async fn give_back(&self, relay: &str, call: i64, held: &Held) -> Result<(), OutboxError> {
        let (lanes, done) = lanes_and_snapshots(held);
        let given =
            sqlx::query(GIVE_BACK).bind(relay).bind(lanes).bind(done).bind(call).execute(&self.database);
        self.answer(given).await.map(|_| ())
    }

    async fn leave(&self, relay: &str, call: i64, held: &Held) -> Result<(), OutboxError> {
        self.give_back(relay, call, held).await?;
        let left =
            sqlx::query("DELETE FROM realtime.relay WHERE id = $1").bind(relay).execute(&self.database);
        self.answer(left).await.map(|_| ())
    }

    async fn read(&self, request: &PageRequest<'_>) -> Result<Page, OutboxError> {
        let (done, lanes): (Vec<String>, Vec<i32>) =
            request.lanes.iter().map(|(done, lanes)| (done.0.clone(), lanes.0)).unzip();
        let (visible_in, after) = request.after.unzip();
        let rows = sqlx::query(READ)
            .bind(done)
            .bind(lanes)
            .bind(visible_in.map(|snapshot| snapshot.0.as_str()))
            .bind(after.map(|after| after.kind.as_str()))
            .bind(after.map(|after| after.id.as_str()))
            .bind(after.map(|after| after.version))
            .bind(after.map(|after| after.at))
            .bind(i64::try_from(request.limit).unwrap_or(i64::MAX))
            .fetch_all(&self.database);
        let rows = self.answer(rows).await?;
        let now = rows.first().ok_or_else(|| failed("the snapshot is missing"))?;
        let now = Snapshot(now.try_get("now").map_err(failed)?);
        // Without a change there is one row, which has only the snapshot.
        let changes = rows.iter().filter(|row| !matches!(row.try_get::<Option<i16>, _>("lane"), Ok(None)));
        let changes = changes.map(waiting).collect::<Result<_, _>>().map_err(failed)?;
        Ok(Page { now, changes })
    }

    async fn set_aside(&self, changes: &[(Waiting, String)]) -> Result<(), OutboxError> {
        let entries = || changes.iter().map(|(change, _)| &change.entry);
        let set_aside = sqlx::query(SET_ASIDE)
            .bind(changes.iter().map(|(change, _)| change.lane).collect::<Vec<_>>())
            .bind(entries().map(|entry| entry.kind.clone()).collect::<Vec<_>>())
            .bind(entries().map(|entry| entry.id.clone()).collect::<Vec<_>>())
            .bind(entries().map(|entry| entry.version).collect::<Vec<_>>())
            .bind(entries().map(|entry| entry.at).collect::<Vec<_>>())
            .bind(entries().map(|entry| entry.created).collect::<Vec<_>>())
            .bind(entries().map(|entry| entry.silent).collect::<Vec<_>>())
            .bind(entries().map(|entry| entry.body.clone()).collect::<Vec<_>>())
            .bind(changes.iter().map(|(_, reason)| reason.clone()).collect::<Vec<_>>())
            .execute(&self.database);
        self.answer(set_aside).await.map(|_| ())
    }

    async fn aside(&self, lanes: LaneSet, limit: usize) -> Result<Vec<Waiting>, OutboxError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows =
            self.answer(sqlx::query(ASIDE).bind(lanes.0).bind(limit).fetch_all(&self.database)).await?;
        rows.iter().map(waiting).collect::<Result<_, _>>().map_err(failed)
    }

    async fn forget(&self, changes: &[Waiting]) -> Result<(), OutboxError> {
        if changes.is_empty() {
            return Ok(());
        }
        let entries = || changes.iter().map(|change| &change.entry);
        let forgotten = sqlx::query(FORGET)
            .bind(entries().map(|entry| entry.kind.clone()).collect::<Vec<_>>())
            .bind(entries().map(|entry| entry.id.clone()).collect::<Vec<_>>())
            .bind(entries().map(|entry| entry.version).collect::<Vec<_>>())
            .bind(entries().map(|entry| entry.at).collect::<Vec<_>>())
            .execute(&self.database);
        self.answer(forgotten).await.map(|_| ())
    }

    async fn rotate(&self) -> Result<(), OutboxError> {
        let rotated = sqlx::query_scalar("SELECT realtime.rotate($1)").bind(BIG).fetch_one(&self.database);
        let done: String = self.answer(rotated).await?;
        tracing::debug!(done, "outbox");
        Ok(())
    }

    async fn sleep_for(&self, time: Duration) -> Result<(), OutboxError> {
        let set = "UPDATE realtime.outbox_state SET asleep_until = clock_timestamp() + $1 * interval '1 ms'";
        self.answer(sqlx::query(set).bind(millis(time)).execute(&self.database)).await.map(|_| ())
    }

    /// Behind a pooler that shares connections between transactions no bell rings: then every sleep has its full length.
    async fn doorbell(&self, most: Duration) {
        let rung = async {
            let mut listener = self.listener.lock().await;
            if listener.is_none() {
                match PgListener::connect_with(&self.database).await {
                    Ok(mut new) => {
                        if let Err(error) = new.listen(CHANNEL).await {
                            tracing::debug!(%error, "no doorbell");
                            return std::future::pending().await;
                        }
                        *listener = Some(new);
                    }
                    Err(error) => {
                        tracing::debug!(%error, "no doorbell");
                        return std::future::pending().await;
                    }
                }
            }
            if let Some(bell) = listener.as_mut()
                && let Err(error) = bell.recv().await
            {
                tracing::debug!(%error, "the doorbell broke; it is connected again");
                *listener = None;
                std::future::pending::<()>().await;
            }
        };
        // Waking up without a bell is part of the plan.
        let _rung_or_not = tokio::time::timeout(most, rung).await;
    }
}
