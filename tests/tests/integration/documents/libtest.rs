//! Finds the names of a package's tests, as libtest lists them: the path of modules within the test binary.
//!
//! `tests/bounds.rs` is its own binary, so the names of its tests have no `bounds::` prefix. The sources are read line by
//! line. Because they are formatted, a module ends at the brace with the same indent as its first line.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The folder of a package of the workspace.
pub(super) fn package(workspace: &Path, name: &str) -> Option<PathBuf> {
    let nested = ["crates", "tests"].map(|folder| entries(&workspace.join(folder)));
    let folders = nested.into_iter().flatten().chain([workspace.join("tests")]);
    let wanted = format!("name = {name:?}");
    folders.into_iter().find(|folder| {
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
        manifest.lines().find(|line| line.starts_with("name = ")) == Some(&wanted)
    })
}

/// Checks that a name is that of a test or of a module with tests.
pub(super) fn find(tests: &BTreeSet<String>, name: &str) -> Result<(), String> {
    let module = format!("{name}::");
    if tests.iter().any(|test| test == name || test.starts_with(&module)) {
        return Ok(());
    }
    let last = name.rsplit("::").next().unwrap_or_default();
    let near = tests.iter().filter(|test| test.rsplit("::").next() == Some(last));
    Err(format!(
        "`cargo test` has no test of this name; tests with the same last part: {:?}",
        near.collect::<Vec<_>>()
    ))
}

/// The names of all tests of a package, without ignored ones.
pub(super) fn tests_of(package: &Path) -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    for root in roots(package) {
        let folder = root.parent().unwrap_or(package).to_owned();
        collect(&root, &folder, &[], &mut tests);
    }
    tests
}

/// The root source file of each target.
fn roots(package: &Path) -> Vec<PathBuf> {
    let bins = entries(&package.join("src/bin"));
    let tests = entries(&package.join("tests"));
    let alone =
        bins.into_iter().chain(tests.clone()).filter(|path| path.extension().is_some_and(|e| e == "rs"));
    let folders = tests.iter().map(|path| path.join("main.rs"));
    let usual = ["src/lib.rs", "src/main.rs"].map(|path| package.join(path));
    usual.into_iter().chain(alone).chain(folders).filter(|path| path.is_file()).collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// Adds the tests of a source file and of its modules. The files of its modules are in `folder`.
fn collect(source: &Path, folder: &Path, module: &[String], tests: &mut BTreeSet<String>) {
    for item in items(&fs::read_to_string(source).unwrap_or_default()) {
        let path: Vec<String> = [module, &item.module].concat();
        let here = item.module.iter().fold(folder.to_owned(), |folder, module| folder.join(module));
        match item.kind {
            Kind::Test => {
                tests.insert(path.join("::"));
            }
            Kind::Source(Some(file)) => {
                let source = source.parent().unwrap_or(folder).join(file);
                collect(&source, source.parent().unwrap_or(folder), &path, tests);
            }
            // If no such file exists, the line was part of some text. Reading it then gives no items.
            Kind::Source(None) => {
                let sources = [here.with_extension("rs"), here.join("mod.rs")];
                sources.iter().for_each(|source| collect(source, &here, &path, tests));
            }
        }
    }
}

/// A test, or a module in another file, that a source file declares.
#[derive(Debug, PartialEq, Eq)]
struct Item {
    /// The path of modules within the source file, with its own name last.
    module: Vec<String>,
    kind: Kind,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// A test that is not ignored.
    Test,
    /// A module in another file: the one that `#[path]` names, or the default one.
    Source(Option<String>),
}

fn items(source: &str) -> Vec<Item> {
    let mut items = Vec::new();
    let mut open: Vec<(usize, String)> = Vec::new();
    let (mut test, mut ignored, mut path) = (false, false, None);
    for line in source.lines() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        if text == "}" && open.last().is_some_and(|(at, _)| *at == indent) {
            open.pop();
        }
        let inside =
            |name: &str| open.iter().map(|(_, name)| name.clone()).chain([name.to_owned()]).collect();
        test |= text == "#[test]" || text.starts_with("#[tokio::test");
        ignored |= text.starts_with("#[ignore");
        if let Some(file) = text.strip_prefix("#[path = \"") {
            path = file.split('"').next().map(str::to_owned);
        }
        let words: Vec<&str> = text.split([' ', '(', '<']).filter(|word| !word.is_empty()).collect();
        let named = |keyword: &str| {
            let at = words.iter().position(|word| *word == keyword)?;
            let before = ["pub", "crate)", "super)", "async"];
            words[..at].iter().all(|word| before.contains(word)).then(|| words.get(at + 1).copied())?
        };
        if let Some(name) = named("fn") {
            if test && !ignored {
                items.push(Item { module: inside(name), kind: Kind::Test });
            }
            (test, ignored) = (false, false);
        } else if let Some(name) = named("mod") {
            match name.strip_suffix(';') {
                Some(name) => items.push(Item { module: inside(name), kind: Kind::Source(path.take()) }),
                None if text.ends_with('{') => open.push((indent, name.to_owned())),
                None => {}
            }
        }
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(module: &str, kind: Kind) -> Item {
        Item { module: module.split("::").map(str::to_owned).collect(), kind }
    }

    #[test]
    fn tests_and_modules_are_found_line_by_line() {
        let source = [
            "pub(crate) mod a;",
            "#[path = \"b_tests.rs\"]",
            "mod b;",
            "#[test]",
            "#[should_panic(",
            "    expected = \"x\"",
            ")]",
            "fn one() {",
            "}",
            "fn helper() {}",
            "#[tokio::test(flavor = \"multi_thread\")]",
            "#[ignore = \"slow\"]",
            "async fn two() {",
            "}",
            "#[cfg(test)]",
            "mod tests {",
            "    mod inner {",
            "        #[test]",
            "        fn three() {",
            "        }",
            "    }",
            "    #[tokio::test]",
            "    async fn four() {}",
            "}",
            "#[test]",
            "fn five() {}",
        ];
        let expected = [
            item("a", Kind::Source(None)),
            item("b", Kind::Source(Some("b_tests.rs".into()))),
            item("one", Kind::Test),
            item("tests::inner::three", Kind::Test),
            item("tests::four", Kind::Test),
            item("five", Kind::Test),
        ];
        assert_eq!(items(&source.join("\n")), expected);
    }

    #[test]
    fn a_name_is_found_as_libtest_would() {
        let tests = ["redis::failures::one", "two"].map(str::to_owned).into();
        for name in ["redis::failures::one", "redis::failures", "redis", "two"] {
            assert_eq!(find(&tests, name), Ok(()), "{name}");
        }
        for name in ["redis::fail", "bounds::two", "one"] {
            assert!(find(&tests, name).is_err(), "{name}");
        }
        assert!(find(&tests, "bounds::two").unwrap_err().contains("[\"two\"]"));
    }

    #[test]
    fn names_begin_with_the_modules_of_their_binary() {
        let own = tests_of(Path::new(env!("CARGO_MANIFEST_DIR")));
        assert!(
            own.contains("documents::libtest::tests::names_begin_with_the_modules_of_their_binary"),
            "{own:?}"
        );
        assert!(own.contains("everything_arrives_once_and_in_order_whatever_fails"), "{own:?}");
    }
}
