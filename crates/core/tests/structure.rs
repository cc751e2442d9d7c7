//! The folders of this crate import only downward, in the order that the crate's documentation lists them.
#![allow(clippy::panic, clippy::unwrap_used, reason = "test code")]

use std::fs;
use std::path::{Path, PathBuf};

/// Each group imports only from the groups before it. `docs/architecture.md` draws the same order.
const GROUPS: [&str; 7] = ["value", "source", "change", "signal", "event", "delivery", "plan"];

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The groups that a source text names behind `crate::`.
fn imported_groups(text: &str) -> Vec<usize> {
    let after = text.split("crate::").skip(1);
    after.filter_map(|rest| GROUPS.iter().position(|group| names(rest, group))).collect()
}

fn names(rest: &str, group: &str) -> bool {
    rest.strip_prefix(group).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
}

#[test]
fn a_group_imports_only_from_groups_before_it() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut imports = 0;
    for (index, group) in GROUPS.iter().enumerate() {
        for file in rust_files(&source.join(group)) {
            // Unit tests may use the whole crate: they are no part of what ships.
            if file.ends_with("tests.rs") {
                continue;
            }
            let text = fs::read_to_string(&file).unwrap();
            let shipped = text.split("#[cfg(test)]").next().unwrap();
            for imported in imported_groups(shipped) {
                imports += 1;
                assert!(imported <= index, "{} imports from {}", file.display(), GROUPS[imported]);
            }
        }
    }
    assert!(imports > 20, "only {imports} imports were found: the test reads the wrong files");
}

#[test]
fn every_folder_is_a_group_and_the_documentation_lists_them_in_order() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let folders = fs::read_dir(&source).unwrap().map(|entry| entry.unwrap().path());
    let folders: Vec<_> = folders.filter(|path| path.is_dir()).collect();
    assert_eq!(folders.len(), GROUPS.len(), "{folders:?}");
    let documentation = fs::read_to_string(source.join("lib.rs")).unwrap();
    let places: Vec<_> =
        GROUPS.iter().map(|group| documentation.find(&format!("//! - [`{group}`]")).unwrap()).collect();
    assert!(places.is_sorted(), "{places:?}");
}
