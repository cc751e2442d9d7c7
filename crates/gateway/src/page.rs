//! The page that people look at, embedded in the program.

use std::io::Write;
use std::sync::LazyLock;

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::Bytes;

/// What the page may do: nothing but its own files and its own gateway.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file of the page.
#[derive(Debug)]
pub struct File {
    /// Its path in the URL.
    pub path: String,
    /// Its media type.
    pub media_type: &'static str,
    /// What it holds.
    pub text: Bytes,
    /// The same, compressed with gzip.
    pub gzip: Bytes,
    /// Names this version of it, in quotes.
    pub etag: String,
}

macro_rules! files {
    ($($name:literal),* $(,)?) => { [$(($name, include_bytes!(concat!("../page/", $name)).as_slice())),*] };
}

/// The files in `page/`.
const FILES: [(&str, &[u8]); 22] = files![
    "index.html",
    "api.js",
    "backfill.js",
    "chart.js",
    "connection.js",
    "detail.js",
    "dom.js",
    "favicon.svg",
    "feed.js",
    "format.js",
    "header.js",
    "hold.js",
    "main.js",
    "movers.js",
    "notices.js",
    "page.css",
    "rows.js",
    "store.js",
    "table.js",
    "theme.js",
    "url.js",
    "watch.js",
];

static COMPRESSED: LazyLock<Vec<File>> =
    LazyLock::new(|| FILES.iter().map(|(name, text)| file(name, text)).collect());

fn file(name: &str, text: &'static [u8]) -> File {
    let media_type = match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/javascript; charset=utf-8",
    };
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    // Writing to memory cannot fail. A file that were not compressed would be sent as it is.
    let gzip = encoder.write_all(text).and_then(|()| encoder.finish()).unwrap_or_default();
    let path = if name == "index.html" { "/".to_owned() } else { format!("/page/{name}") };
    let etag = format!("\"{:016x}\"", fnv(text));
    File { path, media_type, text: Bytes::from_static(text), gzip: gzip.into(), etag }
}

/// A hash that is the same in every build: FNV-1a. It names a version, and protects nothing.
fn fnv(text: &[u8]) -> u64 {
    text.iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The file under a path.
pub fn find(path: &str) -> Option<&'static File> {
    COMPRESSED.iter().find(|file| file.path == path)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_is_embedded() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("page");
        for entry in fs::read_dir(directory).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let is_listed = FILES.iter().any(|(listed, _)| *listed == name);
            assert_eq!(is_listed, !name.ends_with(".txt"), "{name}");
        }
    }

    #[test]
    fn the_whole_page_is_small() {
        let bytes: usize = COMPRESSED.iter().map(|file| file.gzip.len()).sum();
        assert!((10_000..=60 * 1_024).contains(&bytes), "{bytes} bytes compressed");
        assert!(COMPRESSED.iter().all(|file| !file.gzip.is_empty()));
    }

    #[test]
    fn the_page_names_only_files_that_exist() {
        let html = std::str::from_utf8(&find("/").unwrap().text).unwrap();
        let named: Vec<&str> =
            html.split('"').filter(|part| part.starts_with("/page/") && !part.contains('#')).collect();
        assert!(named.len() > 5);
        for path in named {
            assert!(find(path).is_some(), "{path}");
        }
    }
}
