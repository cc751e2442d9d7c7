//! The form of the log, and the level of each crate.

use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::format::JsonLine;

/// The crates and binaries of this workspace, as the log names them.
const WORKSPACE: [&str; 20] = [
    "bootstrap",
    "events",
    "events_adapters",
    "events_core",
    "events_gateway",
    "events_lambda",
    "events_live",
    "events_operator",
    "events_processor",
    "events_program",
    "events_relay",
    "events_settings",
    "events_telemetry",
    "events_wiring",
    "gateway",
    "live",
    "local_stream",
    "relay",
    "stream_file",
    "stream_mapping",
];

/// Starts the log: JSON, one line per message. The crates of this workspace log from `level` up, libraries from
/// warnings up.
pub fn start_log(level: Level) {
    let targets = WORKSPACE.into_iter().map(|target| (target, LevelFilter::from_level(level)));
    let filter = Targets::new().with_default(LevelFilter::WARN).with_targets(targets);
    let layer = tracing_subscriber::fmt::layer().event_format(JsonLine);
    // Fails if a log was started before, as in tests. The first log stays.
    let _already_started = tracing_subscriber::registry().with(layer).with(filter).try_init();
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// A crate that is missing in the list would log nothing below warnings.
    #[test]
    fn every_crate_of_the_workspace_logs_from_the_set_level() {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut found = 0;
        for directory in fs::read_dir(crates).unwrap() {
            let Ok(manifest) = fs::read_to_string(directory.unwrap().path().join("Cargo.toml")) else {
                continue;
            };
            for name in manifest.lines().filter_map(|line| line.strip_prefix("name = ")) {
                let target = name.trim_matches('"').replace('-', "_");
                assert!(WORKSPACE.contains(&&*target), "{target}");
                found += 1;
            }
        }
        assert!(found > 5, "{found}");
    }
}
