//! The Redis URL from the text of a secret: the URL itself, or JSON as the consoles of AWS store it.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use events_adapters::redis::SCHEMES;
use events_core::source::escape;
use serde_json::{Map, Value};

/// What the secret accepts.
pub(crate) const ACCEPTED: &str =
    "a Redis URL, or JSON with the field url, or with host (and port, username, password, scheme or tls)";

/// The port of a Redis server if the JSON has none.
const DEFAULT_PORT: u16 = 6379;

/// The URL. An error says what is wrong without showing any part of the text.
pub(crate) fn url(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    if !text.starts_with(['{', '[']) {
        return Ok(text.to_owned());
    }
    // The parser's own error is not shown: it can quote the text.
    let json: Value = serde_json::from_str(text).map_err(|_| "looks like JSON, but is not valid JSON")?;
    let fields = json.as_object().ok_or("is JSON, but not an object")?;
    match fields.get("url") {
        Some(Value::String(url)) => Ok(url.trim().to_owned()),
        Some(_) => Err("is JSON whose field url is not a text"),
        None => from_parts(fields),
    }
}

fn from_parts(fields: &Map<String, Value>) -> Result<String, &'static str> {
    let host = text(fields, "host", "is JSON whose field host is not a text")?;
    let host = host.ok_or("is JSON without the field url, and without host")?;
    let user = text(fields, "username", "is JSON whose field username is not a text")?.unwrap_or_default();
    let password =
        text(fields, "password", "is JSON whose field password is not a text")?.unwrap_or_default();
    let credentials = match (user, password) {
        ("", "") => String::new(),
        (user, password) => format!("{}:{}@", percent_encoded(user), percent_encoded(password)),
    };
    let (scheme, host, port) = (scheme(fields)?, checked_host(host)?, port(fields)?);
    Ok(format!("{scheme}{credentials}{host}:{port}"))
}

/// A field that is a text. `None` if it is missing, null or empty.
fn text<'a>(
    fields: &'a Map<String, Value>,
    name: &str,
    problem: &'static str,
) -> Result<Option<&'a str>, &'static str> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        Some(_) => Err(problem),
    }
}

/// The scheme, with its `://`, that the JSON names, otherwise the one that `tls` or `ssl` calls for. With neither, TLS is used.
fn scheme(fields: &Map<String, Value>) -> Result<&'static str, &'static str> {
    let tls = match flag(fields, "tls")? {
        Some(tls) => Some(tls),
        None => flag(fields, "ssl")?,
    };
    let Some(named) = text(fields, "scheme", "is JSON whose field scheme is not a text")? else {
        return Ok(if tls.unwrap_or(true) { "rediss://" } else { "redis://" });
    };
    let scheme = SCHEMES
        .into_iter()
        .find(|scheme| named == scheme.text || Some(named) == scheme.text.strip_suffix("://"))
        .ok_or("is JSON whose field scheme is none of redis, rediss, redis-cluster and rediss-cluster")?;
    if tls.is_some_and(|tls| tls != scheme.tls) {
        return Err("is JSON whose fields scheme and tls (or ssl) contradict each other");
    }
    Ok(scheme.text)
}

fn flag(fields: &Map<String, Value>, name: &str) -> Result<Option<bool>, &'static str> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
        Some(_) => Err("is JSON whose field tls or ssl is neither true nor false"),
    }
}

fn port(fields: &Map<String, Value>) -> Result<u16, &'static str> {
    let port = match fields.get("port") {
        None | Some(Value::Null) => Some(DEFAULT_PORT),
        Some(Value::Number(number)) => number.as_u64().and_then(|number| u16::try_from(number).ok()),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(_) => None,
    };
    port.filter(|port| *port > 0).ok_or("is JSON whose field port is not a number from 1 to 65535")
}

/// A host name or an address, with brackets around an IPv6 address.
fn checked_host(host: &str) -> Result<String, &'static str> {
    let is_name = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    match host.trim_matches(['[', ']']).parse::<Ipv6Addr>() {
        Ok(address) => Ok(format!("[{address}]")),
        Err(_) if is_name => Ok(host.to_owned()),
        Err(_) => Err("is JSON whose field host is not a host name: it has no scheme, port or user"),
    }
}

/// A text with every character escaped that can have a meaning in a URL.
fn percent_encoded(text: &str) -> Cow<'_, str> {
    escape(text, |c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '.' | '_' | '~'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_may_be_the_url_itself() {
        assert_eq!(url("rediss://:p@h:1\n").unwrap(), "rediss://:p@h:1");
    }

    #[test]
    fn a_secret_may_be_json_as_the_consoles_store_it() {
        for (json, expected) in [
            (r#"{"url":"redis://h:1"}"#, "redis://h:1"),
            (r#"{"url":"rediss://h:1","host":"i"}"#, "rediss://h:1"),
            (
                r#"{"username":"u","password":"p@/?#% é","engine":"redis","host":"h","port":6380}"#,
                "rediss://u:p%40%2F%3F%23%25%20%C3%A9@h:6380",
            ),
            (r#"{"password":"p","host":"h","port":"6380","tls":false}"#, "redis://:p@h:6380"),
            (r#"{"host":"h","ssl":"true"}"#, "rediss://h:6379"),
            (r#"{"host":"::1","ssl":false,"password":null}"#, "redis://[::1]:6379"),
            (r#"{"host":"h","scheme":"redis-cluster"}"#, "redis-cluster://h:6379"),
            (r#"{"host":"h","scheme":"rediss-cluster://","tls":true}"#, "rediss-cluster://h:6379"),
        ] {
            assert_eq!(url(json).as_deref(), Ok(expected), "{json}");
        }
    }

    #[test]
    fn wrong_json_is_described_without_its_content() {
        for (json, says) in [
            (r#"{"url":"redis://:hunter2@h""#, "not valid JSON"),
            (r#"["hunter2"]"#, "not an object"),
            (r#"{"url":{"hunter2":1}}"#, "field url"),
            (r#"{"password":"hunter2"}"#, "without the field url"),
            (r#"{"host":"hunter2@h"}"#, "field host"),
            (r#"{"host":"h","port":"hunter2"}"#, "field port"),
            (r#"{"host":"h","port":70000}"#, "field port"),
            (r#"{"host":"h","scheme":"hunter2"}"#, "field scheme"),
            (r#"{"host":"h","scheme":"redis","tls":true}"#, "contradict"),
            (r#"{"host":"h","tls":"hunter2"}"#, "neither true nor false"),
            (r#"{"host":"h","password":5}"#, "field password"),
        ] {
            let error = url(json).unwrap_err();
            assert!(error.contains(says) && !error.contains("hunter2"), "{json}: {error}");
        }
    }
}
