//! The README's table of what fails must name tests that exist.

use std::fs;
use std::path::{Path, PathBuf};

/// The folder of the tests.
fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// The source of a module of this binary (`redis::failures`) or of a test of the processor (`bounds`), or of the chaos
/// run where no module is named.
fn source(module: &[&str]) -> Option<String> {
    let path = if module.is_empty() {
        tests().join("chaos")
    } else {
        tests().join("integration").join(module.join("/"))
    };
    let processor = tests().join("../../crates/processor/tests").join(module.join("/"));
    [path.with_extension("rs"), path.join("mod.rs"), processor.with_extension("rs")]
        .into_iter()
        .find_map(|path| fs::read_to_string(path).ok())
}

/// Whether a name of the table stands for something that runs: a make target, a test, or a module of tests.
fn runs(name: &str) -> bool {
    if let Some(target) = name.strip_prefix("make ") {
        let makefile = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Makefile")).unwrap();
        return makefile.lines().any(|line| line.starts_with(&format!("{target}:")));
    }
    let parts: Vec<&str> = name.split("::").collect();
    let (test, module) = parts.split_last().unwrap();
    let test_in = |source: String| {
        let lines: Vec<&str> = source.lines().collect();
        lines.windows(2).any(|pair| {
            let is_test = pair[0].starts_with("#[tokio::test") || pair[0].starts_with("#[test]");
            is_test && pair[1].trim_start_matches("async ").starts_with(&format!("fn {test}("))
        })
    };
    source(module).is_some_and(test_in) || source(&parts).is_some()
}

#[test]
fn every_row_of_what_fails_names_a_test() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap();
    let rows = readme.lines().skip_while(|line| !line.starts_with("| what fails |")).skip(2);
    let mut names = 0;
    for row in rows.take_while(|line| line.starts_with('|')) {
        let shown_by = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let named: Vec<&str> = shown_by.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "no test is named in: {row}");
        for name in &named {
            assert!(runs(name), "{name} does not exist: {row}");
        }
        names += named.len();
    }
    assert!(names > 30, "{names} names: the table was not found");
}

#[test]
fn a_name_that_is_none_is_found_out() {
    for name in
        ["redis::failures::no_such_test", "redis::sandbox", "no_such_module", "make nothing", "sqs::client"]
    {
        assert!(!runs(name), "{name}");
    }
}
