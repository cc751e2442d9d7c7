//! The log's form, and who is heard in it.

use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Our own crates and binaries, as the log names them.
const OURS: [&str; 11] = [
    "bootstrap",
    "events_adapters",
    "events_core",
    "events_lambda",
    "events_processor",
    "events_settings",
    "events_telemetry",
    "events_wiring",
    "local_stream",
    "stream_file",
    "stream_mapping",
];

/// Starts the log: JSON, a line each. Libraries are heard from warnings up, ourselves from `level`.
pub fn start_log(level: Level) {
    let targets = OURS.into_iter().map(|target| (target, LevelFilter::from_level(level)));
    let filter = Targets::new().with_default(LevelFilter::WARN).with_targets(targets);
    let layer = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false);
    // A second start, as in tests, keeps the first log.
    let _already_started = tracing_subscriber::registry().with(layer).with(filter).try_init();
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// A crate that is missing here would be silent below warnings.
    #[test]
    fn every_crate_of_ours_is_heard() {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut found = 0;
        for directory in fs::read_dir(crates).unwrap() {
            let Ok(manifest) = fs::read_to_string(directory.unwrap().path().join("Cargo.toml")) else {
                continue;
            };
            for name in manifest.lines().filter_map(|line| line.strip_prefix("name = ")) {
                let target = name.trim_matches('"').replace('-', "_");
                assert!(OURS.contains(&&*target), "{target}");
                found += 1;
            }
        }
        assert!(found > 5, "{found}");
    }
}
