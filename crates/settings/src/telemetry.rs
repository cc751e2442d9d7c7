//! Logs and metrics.

use tracing::Level;

use crate::Reader;

const LOG_LEVELS: [(&str, Level); 5] = [
    ("error", Level::ERROR),
    ("warn", Level::WARN),
    ("info", Level::INFO),
    ("debug", Level::DEBUG),
    ("trace", Level::TRACE),
];

/// Settings of logs and metrics.
#[derive(Clone, Debug)]
pub struct TelemetrySettings {
    /// `LOG_LEVEL`.
    pub log_level: Level,
    /// `METRICS_STAGE`: the dimension `Stage` of every metric.
    pub metrics_stage: Option<String>,
}

impl TelemetrySettings {
    /// Reads the section.
    pub fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            log_level: reader.one_of("LOG_LEVEL", &LOG_LEVELS, Level::INFO),
            metrics_stage: reader.text("METRICS_STAGE"),
        }
    }
}
