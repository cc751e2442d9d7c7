//! The settings of the gateway.

use std::net::{Ipv4Addr, SocketAddr};

use crate::access::{ApiKeys, Limits, Origins, ServeSettings};
use events_adapters::redis::RedisSettings;
use events_settings::{Needs, Reader, SettingsError, TelemetrySettings, is_cluster, key_style, redis};

/// Where the gateway listens if nothing is set.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// All settings of a gateway.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How to reach Redis.
    pub redis: RedisSettings,
    /// `LISTEN_ADDR`.
    pub listen: SocketAddr,
    /// `GATEWAY_EVENTS`: how many of the newest events are kept in memory.
    pub events: usize,
    /// How connections are served.
    pub serve: ServeSettings,
    /// Logs.
    pub telemetry: TelemetrySettings,
}

/// Reads `LISTEN_ADDR`.
pub fn listen_address(reader: &mut Reader<'_>) -> SocketAddr {
    reader
        .parsed("LISTEN_ADDR", DEFAULT_LISTEN, "ADDRESS:PORT, such as 0.0.0.0:8080", |text| text.parse().ok())
}

impl Settings {
    /// Reads settings from any source. `get` returns the value of a setting by its name.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let mut reader = Reader::new(&get);
        let redis = redis(&mut reader, Needs::Everything);
        if redis.as_ref().is_some_and(|redis| is_cluster(&redis.url)) {
            reader.refuse(
                "REDIS_URL (its value is not shown) names a cluster; the gateway follows the log of events, which only \
                 a single Redis (with replicas) has: it accepts redis:// and rediss://",
            );
        }
        let limits = Limits::default();
        let whole = |reader: &mut Reader<'_>, name, default: usize, most: u64| {
            let least =
                u64::from(name != "GATEWAY_MAX_CONNECTIONS_PER_IP" && name != "GATEWAY_TRUSTED_PROXIES");
            usize::try_from(reader.whole(name, default as u64, least..=most)).unwrap_or(usize::MAX)
        };
        let settings = Self {
            listen: listen_address(&mut reader),
            events: whole(&mut reader, "GATEWAY_EVENTS", 50_000, 10_000_000),
            serve: ServeSettings {
                limits: Limits {
                    connections: whole(&mut reader, "GATEWAY_MAX_CONNECTIONS", limits.connections, 1_000_000),
                    connections_per_ip: whole(
                        &mut reader,
                        "GATEWAY_MAX_CONNECTIONS_PER_IP",
                        limits.connections_per_ip,
                        1_000_000,
                    ),
                    ..limits
                },
                origins: origins(&mut reader),
                api_keys: api_keys(&mut reader),
                trusted_proxies: whole(&mut reader, "GATEWAY_TRUSTED_PROXIES", 0, 10),
                keys: key_style(&mut reader),
            },
            telemetry: TelemetrySettings::read(&mut reader),
            redis: redis.unwrap_or_else(|| RedisSettings::new("")),
        };
        reader.into_result(settings)
    }
}

fn origins(reader: &mut Reader<'_>) -> Origins {
    let accepts = "* or origins with commas between, such as https://app.example.org";
    reader.parsed("GATEWAY_ORIGINS", Origins::Own, accepts, |text| {
        if text == "*" {
            return Some(Origins::Any);
        }
        let origin = |text: &str| {
            let text = text.trim();
            let (scheme, host) = text.split_once("://")?;
            let fits =
                matches!(scheme, "http" | "https") && !host.is_empty() && !host.contains(['/', '*', ' ']);
            fits.then(|| text.to_ascii_lowercase())
        };
        text.split(',').map(origin).collect::<Option<_>>().map(Origins::Listed)
    })
}

fn api_keys(reader: &mut Reader<'_>) -> ApiKeys {
    let accepts = "keys of at least 16 letters, digits, - and _, with commas between";
    let split = |text: &str| text.split(',').map(|key| key.trim().to_owned()).collect::<Vec<_>>();
    let fits = |key: &String| {
        key.len() >= 16 && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let problem = |text: &str| {
        (!split(text).iter().all(fits))
            .then(|| "has a key that is too short or has other characters".to_owned())
    };
    ApiKeys::new(
        reader.secret("GATEWAY_API_KEYS", accepts, problem).map(|text| split(&text)).unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(set: &[(&str, &str)]) -> Result<Settings, String> {
        let get = |name: &str| {
            let set = set.iter().find(|(one, _)| *one == name).map(|(_, value)| (*value).to_owned());
            set.or_else(|| (name == "REDIS_URL").then(|| "redis://h".to_owned()))
        };
        Settings::read(get).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_those_of_the_document() {
        let settings = read(&[]).unwrap();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:8080");
        assert_eq!((settings.events, settings.serve.limits.connections), (50_000, 10_000));
        assert_eq!(settings.serve.origins, Origins::Own);
        assert!(settings.serve.api_keys.accept(None));
    }

    #[test]
    fn a_wrong_setting_is_named_with_what_it_accepts() {
        for (name, value, wanted) in [
            ("LISTEN_ADDR", "8080", "ADDRESS:PORT"),
            ("GATEWAY_EVENTS", "0", "from 1 to"),
            ("GATEWAY_MAX_CONNECTIONS", "many", "from 1 to"),
            ("GATEWAY_ORIGINS", "app.example.org", "such as https://"),
            ("GATEWAY_ORIGINS", "https://*.example.org", "such as https://"),
            ("GATEWAY_API_KEYS", "hunter2", "at least 16"),
            ("REDIS_URL", "redis-cluster://h", "names a cluster"),
            ("LOG_LEVEL", "loud", "LOG_LEVEL"),
        ] {
            let error = read(&[(name, value)]).unwrap_err();
            assert!(error.starts_with(name) && error.contains(wanted), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(Settings::read(|_| None).unwrap_err().to_string().contains("REDIS_URL is not set"));
    }

    #[test]
    fn only_a_whole_key_is_accepted() {
        let settings = read(&[("GATEWAY_API_KEYS", "0123456789abcdef, ABCDEF-0123456789")]).unwrap();
        let keys = settings.serve.api_keys;
        assert!(keys.accept(Some("0123456789abcdef")) && keys.accept(Some("ABCDEF-0123456789")));
        for wrong in
            [None, Some(""), Some("0123456789abcde"), Some("0123456789abcdeg"), Some("0123456789abcdef0")]
        {
            assert!(!keys.accept(wrong), "{wrong:?}");
        }
        assert_eq!(format!("{keys:?}"), "2 API keys");
    }

    #[test]
    fn origins_are_listed() {
        let settings = read(&[("GATEWAY_ORIGINS", "https://A.example.org, http://localhost:3000")]).unwrap();
        let listed = ["https://a.example.org", "http://localhost:3000"].map(str::to_owned);
        assert_eq!(settings.serve.origins, Origins::Listed(listed.into()));
        assert_eq!(read(&[("GATEWAY_ORIGINS", "*")]).unwrap().serve.origins, Origins::Any);
    }
}
