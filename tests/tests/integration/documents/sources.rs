//! Finds names in the sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A source file, or all source files in a folder except files with unit tests only.
pub(super) fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let is_source = |path: &PathBuf| path.is_dir() || name(path).ends_with(".rs");
    let paths = paths.into_iter().filter(is_source);
    let paths = paths.filter(|path| !name(path).ends_with("tests.rs") && name(path) != "tests");
    paths.flat_map(|path| files(&path)).collect()
}

/// A source without the unit tests at its end.
pub(super) fn without_tests(source: &str) -> &str {
    source.split("#[cfg(test)]").next().unwrap_or_default()
}

/// True if a text looks like the name of a setting: two or more words in capitals, joined by `_`.
pub(super) fn is_setting(text: &str) -> bool {
    let word =
        |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    text.contains('_') && text.starts_with(|c: char| c.is_ascii_uppercase()) && text.split('_').all(word)
}

/// The settings that code reads. Each is a string literal of its own.
pub(super) fn settings(code: &str) -> BTreeSet<String> {
    // Every other part is code, which never looks like the name of a setting.
    code.split('"').filter(|text| is_setting(text)).map(str::to_owned).collect()
}

/// The metrics that code writes. Each is the first element of a tuple (`("name", value)`) or the first argument of a macro
/// (`gauge!("name")`).
pub(super) fn metrics(code: &str) -> BTreeSet<String> {
    let parts: Vec<&str> = code.split('"').collect();
    let is_name = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(|c| c.is_ascii_alphanumeric())
    };
    // A function name before the parenthesis makes the text an argument of that function.
    let is_first = |before: &str| {
        let before = before.strip_suffix('(').and_then(|before| before.chars().next_back());
        before.is_some_and(|c| c == '!' || c == '(' || c == '[' || c.is_whitespace())
    };
    let names = parts.windows(2).filter(|pair| is_first(pair[0]) && is_name(pair[1]));
    names.map(|pair| pair[1].to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn settings_are_texts_in_capitals() {
        let code = r#"reader.whole("MAX_RETRIES", 3, 0..=10); get("AWS_ENDPOINT_URL_2"); flag("TRUE", "A_b", "_X");
            demand("X", "is not A_SETTING"); const NO_SETTING: u8 = 1;"#;
        assert_eq!(settings(code), set(&["MAX_RETRIES", "AWS_ENDPOINT_URL_2"]));
    }

    #[test]
    fn metrics_are_in_tuples_and_macros() {
        let code = r#"[("late", tally.late), ("dlqPublished", 1)]; gauge!("processingTime").set(1); set_property("requestId", id);
            with_dimension("Stage", stage); ("two words", 1); f(x, "other");"#;
        assert_eq!(metrics(code), set(&["late", "dlqPublished", "processingTime"]));
    }

    #[test]
    fn unit_tests_are_left_out() {
        assert_eq!(without_tests("a\n#[cfg(test)]\nmod tests {}"), "a\n");
        let own = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration/documents"));
        assert!(own.iter().any(|path| path.ends_with("sources.rs")), "{own:?}");
    }
}
