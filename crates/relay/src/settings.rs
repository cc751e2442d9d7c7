//! The settings of the relay: those of the processor, and its own.

use std::net::SocketAddr;

use events_settings::{ProcessorSettings, Reader, SettingsError, environment};

use crate::postgres::{DatabaseSettings, check_ca_file, check_url};

/// What `DATABASE_URL` accepts.
const ACCEPTED: &str = "postgres://USER:PASSWORD@HOST:PORT/DATABASE";
/// The name of the setting.
const DATABASE_URL: &str = "DATABASE_URL";

/// All settings of a relay.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The database.
    pub database: DatabaseSettings,
    /// Where health and metrics are served.
    pub listen: SocketAddr,
    /// The processor.
    pub processor: ProcessorSettings,
}

impl Settings {
    /// Reads the process's environment.
    pub async fn read() -> Result<Self, SettingsError> {
        let database = database_settings(&environment);
        let listen = listen_address(&environment);
        // One error lists what is wrong in both.
        let processor = ProcessorSettings::for_service().await;
        match (database, listen, processor) {
            (Ok(database), Ok(listen), Ok(processor)) => Ok(Self { database, listen, processor }),
            (database, listen, processor) => {
                Err(SettingsError::all([database.err(), listen.err(), processor.err()].into_iter().flatten()))
            }
        }
    }
}

/// Reads how to reach the database.
pub fn database_settings(get: &dyn Fn(&str) -> Option<String>) -> Result<DatabaseSettings, SettingsError> {
    let mut reader = Reader::new(get);
    reader.require_set(DATABASE_URL, ACCEPTED);
    let url = reader.secret(DATABASE_URL, ACCEPTED, |url| check_url(url).err().map(str::to_owned));
    let ca_file = reader.file("DATABASE_CA_FILE", "a PEM file with at least one certificate", check_ca_file);
    reader.into_result(DatabaseSettings { url: url.unwrap_or_default(), ca_file })
}

/// Reads where health and metrics are served.
pub fn listen_address(get: &dyn Fn(&str) -> Option<String>) -> Result<SocketAddr, SettingsError> {
    let mut reader = Reader::new(get);
    let default = SocketAddr::from(([0, 0, 0, 0], 8080));
    let listen = reader
        .parsed("RELAY_LISTEN", default, "ADDRESS:PORT, such as 0.0.0.0:8080", |text| text.parse().ok());
    reader.into_result(listen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: Option<&str>, ca_file: Option<&str>) -> Result<DatabaseSettings, String> {
        let get = |name: &str| match name {
            DATABASE_URL => url.map(str::to_owned),
            "DATABASE_CA_FILE" => ca_file.map(str::to_owned),
            _ => None,
        };
        database_settings(&get).map_err(|error| error.to_string())
    }

    #[test]
    fn a_wrong_url_is_refused_without_being_shown() {
        assert!(settings(Some("postgres://u:p@h:5432/d"), None).is_ok());
        assert!(settings(None, None).unwrap_err().contains("DATABASE_URL is not set"));
        for wrong in ["mysql://u:hunter2@h/d", "postgres://u:hunter2@h:99999/d"] {
            let error = settings(Some(wrong), None).unwrap_err();
            assert!(error.starts_with("DATABASE_URL (its value is not shown)"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        let error = settings(Some("postgres://h/d"), Some("/nonexistent.pem")).unwrap_err();
        assert!(error.contains("DATABASE_CA_FILE"), "{error}");
    }

    #[test]
    fn the_url_is_never_printed() {
        let settings = settings(Some("postgres://u:hunter2@h/d"), None).unwrap();
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
