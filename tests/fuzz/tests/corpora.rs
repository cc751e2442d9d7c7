//! Replays the seeds and kept corpora of the fuzz targets on a stable compiler.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "test code: a panic is how a test fails")]

use std::path::{Path, PathBuf};

use events_fuzz::TARGETS;

/// The files of a folder, in order. Empty if the folder does not exist.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries =
        std::fs::read_dir(folder).map(|entries| entries.map(|entry| entry.unwrap().path()).collect());
    let mut files: Vec<PathBuf> = entries.unwrap_or_default();
    files.sort();
    files
}

#[test]
fn what_must_hold_of_any_input_holds_of_the_corpora() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (target, check) in TARGETS {
        let [seeds, corpus] = ["seeds", "corpus"].map(|folder| files(&root.join(folder).join(target)));
        assert!(!seeds.is_empty() && !corpus.is_empty(), "{target} lacks seeds or a corpus");
        for file in seeds.iter().chain(&corpus) {
            println!("{}", file.display());
            check(&std::fs::read(file).unwrap());
        }
    }
}
