//! How to reach Redis.

use events_adapters::redis::{RedisSettings, SCHEMES, Scheme, check_ca_file, check_url};

use crate::{Needs, Reader, form};

/// What `REDIS_URL` accepts.
pub(crate) const ACCEPTED: &str = "redis://HOST:PORT, rediss://…, redis-cluster://… or rediss-cluster://…";

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
        source: None,
    };
    if needs == Needs::Everything {
        reader.require_set("REDIS_URL", ACCEPTED);
    }
    let url = reader.secret("REDIS_URL", ACCEPTED, problem)?;
    Some(RedisSettings { url, ..settings })
}

/// What is wrong with a URL, without any part of it.
pub(crate) fn problem(url: &str) -> Option<String> {
    let of_form = form::url_problem(url, &SCHEMES.map(|scheme| scheme.text));
    of_form.map(str::to_owned).or_else(|| check_url(url).err().map(|error| error.to_string()))
}

/// True for the URL of a cluster. There all keys of one commit must be in one slot.
pub fn is_cluster(url: &str) -> bool {
    Scheme::of(url).is_some_and(|scheme| scheme.cluster)
}
