//! The page that the gateway serves.

use std::collections::BTreeSet;
use std::io::Read;

use events_harness::gateway::{Answer, GatewayProcess};
use flate2::read::GzDecoder;

use super::world;

/// The files of the page that a text names.
fn named(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for part in text.split(['"', '\'', '`', '(', ')']) {
        if let Some(name) = part.strip_prefix("./") {
            found.insert(format!("/page/{name}"));
        } else if part.starts_with("/page/") {
            found.insert(part.split(['#', '?']).next().unwrap_or_default().to_owned());
        }
    }
    found
        .retain(|path| path.rsplit('/').next().is_some_and(|name| name.contains('.') && !name.contains(' ')));
    found
}

fn assert_headers(answer: &Answer, path: &str) {
    let policy = answer.header("content-security-policy");
    for rule in ["default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"] {
        assert!(policy.contains(rule), "{path}: {policy}");
    }
    assert!(!policy.contains("unsafe"), "{path}: {policy}");
    assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
    assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
    assert_eq!(answer.header("cache-control"), "no-cache", "{path}");
    assert_eq!(answer.header("vary"), "Accept-Encoding", "{path}");
}

async fn assert_served(gateway: &GatewayProcess, path: &str) -> String {
    let plain = gateway.get(path).await;
    assert_eq!((plain.status, plain.header("content-encoding")), (200, ""), "{path}");
    assert_headers(&plain, path);
    let media_type = match path.rsplit('.').next() {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/html; charset=utf-8",
    };
    assert_eq!(plain.header("content-type"), media_type, "{path}");

    let packed = gateway.request("GET", path, &[("Accept-Encoding", "br, gzip")]).await;
    assert_eq!((packed.status, packed.header("content-encoding")), (200, "gzip"), "{path}");
    assert_headers(&packed, path);
    let mut unpacked = Vec::new();
    GzDecoder::new(&packed.body[..]).read_to_end(&mut unpacked).expect("gzip");
    assert_eq!(unpacked, plain.body, "{path}");
    assert!(packed.body.len() < plain.body.len() || plain.body.len() < 300, "{path}");

    let etag = plain.header("etag");
    assert!(etag.len() > 2, "{path}: {etag}");
    let known = gateway.request("GET", path, &[("If-None-Match", etag)]).await;
    assert_eq!((known.status, known.body.len(), known.header("etag")), (304, 0, etag), "{path}");
    let changed = gateway.request("GET", path, &[("If-None-Match", "\"other\"")]).await;
    assert_eq!(changed.status, 200, "{path}");

    let head = gateway.request("HEAD", path, &[]).await;
    assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
    assert_eq!(head.header("content-length"), plain.body.len().to_string(), "{path}");
    plain.text()
}

#[tokio::test]
async fn the_page_and_every_file_that_it_names_are_served() {
    let (_redis, gateway) = world(&[]).await;
    let mut seen = BTreeSet::new();
    let mut next = BTreeSet::from(["/".to_owned()]);
    // A script names further scripts.
    while let Some(path) = next.pop_first() {
        let text = assert_served(&gateway, &path).await;
        seen.insert(path);
        next.extend(named(&text).difference(&seen).cloned());
    }
    assert!(seen.len() > 15, "{seen:?}");
}
