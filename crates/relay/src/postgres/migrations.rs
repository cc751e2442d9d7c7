//! The migrations of `infra/postgres`, embedded.
//!
//! sqlx runs them: each in a transaction, with its checksum stored, under a lock of the database. A connection through a
//! transaction pooler cannot hold that lock, so migrations connect directly.

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, SqlSafeStr};

/// The schema and table in which sqlx keeps what is applied. It is not in `realtime`, which the first migration drops on its
/// way back.
const SCHEMA: &str = "realtime_migrations";
const TABLE: &str = "realtime_migrations.applied";

macro_rules! migrations {
    ($(($version:literal, $name:literal)),+ $(,)?) => {
        [$((
            $version,
            $name,
            include_str!(concat!("../../../../infra/postgres/", $name, ".up.sql")),
            include_str!(concat!("../../../../infra/postgres/", $name, ".down.sql")),
        )),+]
    };
}

/// Version, name, the way up, and the way down.
const MIGRATIONS: [(i64, &str, &str, &str); 4] =
    migrations![(1, "0001_realtime"), (2, "0002_watch"), (3, "0003_relay"), (4, "0004_reference_tables"),];

/// The newest version.
pub fn latest() -> i64 {
    MIGRATIONS.len() as i64
}

fn migrator() -> Migrator {
    let both = MIGRATIONS.iter().flat_map(|(version, name, up, down)| {
        let migration = |kind, sql: &'static str| {
            Migration::new(*version, (*name).into(), kind, sql.into_sql_str(), false)
        };
        [migration(MigrationType::ReversibleUp, up), migration(MigrationType::ReversibleDown, down)]
    });
    let mut migrator = Migrator::with_migrations(both.collect());
    migrator.create_schema(SCHEMA);
    migrator.dangerous_set_table_name(TABLE);
    migrator
}

/// Applies all migrations that are missing. Safe when two start at once.
pub async fn migrate(database: &PgPool) -> Result<(), String> {
    let mut own = connection(database).await?;
    migrator().run(&mut own).await.map_err(|error| describe(&error))
}

/// Takes migrations back, down to `version`, which stays. 0 takes all back.
pub async fn migrate_down(database: &PgPool, version: i64) -> Result<(), String> {
    if !(0..=latest()).contains(&version) {
        return Err(format!("version is {version}; it accepts 0 to {}", latest()));
    }
    let mut own = connection(database).await?;
    migrator().undo(&mut own, version).await.map_err(|error| describe(&error))
}

/// A connection that closes when it is dropped: after an error, sqlx leaves the lock of the database with it.
async fn connection(database: &PgPool) -> Result<PgConnection, String> {
    database.acquire().await.map(PoolConnection::detach).map_err(|error| error.to_string())
}

/// The newest version that is applied; 0 if none is.
pub async fn applied(database: &PgPool) -> Result<i64, String> {
    let describe = |error: sqlx::Error| error.to_string();
    let exists: bool = sqlx::query_scalar("SELECT to_regclass('realtime_migrations.applied') IS NOT NULL")
        .fetch_one(database)
        .await
        .map_err(describe)?;
    if !exists {
        return Ok(0);
    }
    sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM realtime_migrations.applied WHERE success")
        .fetch_one(database)
        .await
        .map_err(describe)
}

fn describe(error: &sqlx::migrate::MigrateError) -> String {
    use sqlx::migrate::MigrateError;
    match error {
        MigrateError::VersionMismatch(version) => format!(
            "migration {version} was applied in another form than this program has; nothing was changed. Use the program \
             that applied it, or take it back with that program first"
        ),
        MigrateError::VersionMissing(version) => format!(
            "the database has migration {version}, which this program does not know: it is older than the database"
        ),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_migration_of_the_folder_is_embedded_in_order() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../infra/postgres");
        let names =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let names: BTreeSet<_> =
            names.filter_map(|name| Some(name.strip_suffix(".up.sql")?.to_owned())).collect();
        assert_eq!(names.iter().collect::<Vec<_>>(), MIGRATIONS.map(|(_, name, ..)| name));
        for (index, (version, name, ..)) in MIGRATIONS.iter().enumerate() {
            assert_eq!((index as i64 + 1, format!("{version:04}_")), (*version, name[..5].to_owned()));
        }
    }
}
