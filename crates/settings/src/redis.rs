//! How to reach Redis.

use events_adapters::redis::{RedisSettings, check_ca_file, check_url};

use crate::{Needs, Reader, form};

/// The schemes of a Redis URL.
const SCHEMES: [&str; 4] = ["redis://", "rediss://", "redis-cluster://", "rediss-cluster://"];
/// What `REDIS_URL` accepts.
const ACCEPTED: &str = "redis://HOST:PORT, rediss://…, redis-cluster://… or rediss-cluster://…";

/// Reads how to reach Redis. `None` if `REDIS_URL` is not set.
pub fn redis(reader: &mut Reader<'_>, needs: Needs) -> Option<RedisSettings> {
    let default = RedisSettings::new("");
    let settings = RedisSettings {
        url: String::new(),
        ca_file: reader.file("REDIS_CA_FILE", "a PEM file with at least one certificate", check_ca_file),
        connect_timeout: reader.millis("REDIS_CONNECT_TIMEOUT_MS", default.connect_timeout, 1),
        command_timeout: reader.millis("REDIS_COMMAND_TIMEOUT_MS", default.command_timeout, 8),
        probe_after: reader.millis("REDIS_PROBE_AFTER_MS", default.probe_after, 1),
        probe_timeout: reader.millis("REDIS_PROBE_TIMEOUT_MS", default.probe_timeout, 1),
    };
    if needs == Needs::Everything {
        reader.require_set("REDIS_URL", ACCEPTED);
    }
    let url = reader.secret("REDIS_URL", ACCEPTED, check)?;
    Some(RedisSettings { url, ..settings })
}

/// Says what is wrong with a URL, without showing any part of it.
fn check(url: &str) -> Result<(), String> {
    match form::url_problem(url, &SCHEMES) {
        Some(problem) => Err(problem.to_owned()),
        None => check_url(url).map_err(|error| error.to_string()),
    }
}

/// Checks the URL that was fetched from a secret.
#[cfg(feature = "secrets-manager")]
pub(crate) fn check_fetched(url: &str) -> Result<(), crate::SettingsError> {
    check(url).map_err(|problem| crate::SettingsError::of(crate::secret::wrong(&problem, ACCEPTED)))
}

/// True for the URL of a cluster. There all keys of one commit must be in one slot.
pub fn is_cluster(url: &str) -> bool {
    url.starts_with("redis-cluster://") || url.starts_with("rediss-cluster://")
}
