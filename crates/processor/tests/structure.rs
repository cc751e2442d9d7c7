//! The modules of this crate import only downward: there is no circle.
#![allow(clippy::panic, clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Each module imports only from modules before it.
const MODULES: [&str; 15] = [
    "ports",
    "settings",
    "deadline",
    "tally",
    "outcome",
    "guarded",
    "sender",
    "key_failures",
    "context",
    "progress",
    "send",
    "commit",
    "drain",
    "process",
    "memory",
];

#[test]
fn a_module_imports_only_from_modules_before_it() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut imports = 0;
    for (index, module) in MODULES.iter().enumerate() {
        let text = fs::read_to_string(source.join(format!("{module}.rs"))).unwrap();
        for rest in text.split("crate::").skip(1) {
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let imported = MODULES.iter().position(|module| *module == name);
            imports += 1;
            assert!(imported.is_some_and(|imported| imported < index), "{module} imports from {name}");
        }
    }
    assert!(imports > 20, "only {imports} imports were found: the test reads the wrong files");
}

#[test]
fn every_file_is_a_listed_module() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let names = fs::read_dir(source).unwrap().map(|entry| entry.unwrap().path());
    let names: BTreeSet<String> =
        names.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    let listed = MODULES.iter().chain(&["lib"]).map(|name| (*name).to_owned());
    assert_eq!(names, listed.collect());
}
