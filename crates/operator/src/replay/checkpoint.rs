//! The file of events, and how far a replay is.
//!
//! The checkpoint says how many protocols and tokens are done, and how long the file was then. What a killed run has written after
//! it is cut off, so no line is missing and none is there twice.

use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What a run replays: another run cannot go on with its checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Run {
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) lead: u32,
    pub(super) sk_is_writing_time: bool,
    pub(super) output: String,
    /// How many protocols and tokens there are.
    pub(super) subjects: usize,
}

/// How far a run is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct State {
    pub(super) run: Run,
    /// How many protocols and tokens are done.
    pub(super) done: usize,
    /// The last of them.
    pub(super) last: Option<String>,
    /// Length of the file of events, bytes.
    pub(super) bytes: u64,
    /// Events so far.
    pub(super) events: u64,
}

/// The file of a checkpoint, if there is one.
#[derive(Debug)]
pub(super) struct Checkpoint {
    path: Option<PathBuf>,
    pub(super) state: State,
}

impl Checkpoint {
    /// Reads the checkpoint, or begins a new one. True if it goes on with an earlier run.
    pub(super) fn open(path: Option<&Path>, run: Run, names: &[String]) -> Result<(Self, bool), String> {
        let new = State { run, done: 0, last: None, bytes: 0, events: 0 };
        let Some(path) = path else { return Ok((Self { path: None, state: new }, false)) };
        let failed = |error: &dyn Display| format!("--checkpoint {}: {error}", path.display());
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((Self { path: Some(path.to_owned()), state: new }, false));
            }
            Err(error) => return Err(failed(&error)),
        };
        let state: State = serde_json::from_str(&text).map_err(|error| failed(&error))?;
        let last = state.done.checked_sub(1).and_then(|last| names.get(last));
        if state.run != new.run || state.last.as_ref() != last {
            return Err(failed(&"is of another run: of other times, keys, or another output"));
        }
        Ok((Self { path: Some(path.to_owned()), state }, true))
    }

    /// Writes it, so that a reader sees the old one or the new one, whole.
    pub(super) fn save(&self) -> Result<(), String> {
        let Some(path) = &self.path else { return Ok(()) };
        let write = || {
            let new = path.with_extension("new");
            let mut file = File::create(&new)?;
            file.write_all(serde_json::to_string(&self.state).map_err(io::Error::other)?.as_bytes())?;
            file.sync_data()?;
            fs::rename(&new, path)
        };
        write().map_err(|error| format!("--checkpoint {}: {error}", path.display()))
    }
}

/// The file of events.
#[derive(Debug)]
pub(super) struct LineFile {
    path: PathBuf,
    file: File,
}

impl LineFile {
    /// Opens the file. A run that goes on cuts it to `bytes`; a new one does not touch a file that is there.
    pub(super) fn open(path: &Path, goes_on: bool, bytes: u64) -> Result<Self, String> {
        let failed = |error: &dyn Display| format!("--events {}: {error}", path.display());
        let mut options = OpenOptions::new();
        options.write(true).create(goes_on).create_new(!goes_on);
        let mut file = options.open(path).map_err(|error| failed(&error))?;
        if file.metadata().map_err(|error| failed(&error))?.len() < bytes {
            return Err(failed(&"is shorter than it was at the checkpoint"));
        }
        file.set_len(bytes)
            .and_then(|()| file.seek(SeekFrom::Start(bytes)))
            .map_err(|error| failed(&error))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Appends lines, and waits until the disk has them: the checkpoint counts on it.
    pub(super) fn append(&mut self, text: &str) -> Result<(), String> {
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(|error| format!("--events {}: {error}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(to: i64) -> Run {
        Run { from: 1, to, lead: 1, sk_is_writing_time: false, output: "o".to_owned(), subjects: 2 }
    }

    #[test]
    fn a_run_goes_on_where_it_was_and_no_other_does() {
        let folder = tempfile::tempdir().unwrap();
        let (path, events) = (folder.path().join("c"), folder.path().join("e"));
        let names = ["a", "b"].map(str::to_owned);
        let (mut checkpoint, goes_on) = Checkpoint::open(Some(&path), run(9), &names).unwrap();
        assert!(!goes_on);
        let mut file = LineFile::open(&events, false, 0).unwrap();
        file.append("one\n").unwrap();
        (checkpoint.state.done, checkpoint.state.last, checkpoint.state.bytes) = (1, Some("a".to_owned()), 4);
        checkpoint.save().unwrap();
        file.append("tw").unwrap();

        let (again, goes_on) = Checkpoint::open(Some(&path), run(9), &names).unwrap();
        assert!(goes_on && again.state == checkpoint.state);
        LineFile::open(&events, true, 4).unwrap().append("two\n").unwrap();
        assert_eq!(fs::read_to_string(&events).unwrap(), "one\ntwo\n");

        let others = ["x", "b"].map(str::to_owned);
        assert!(Checkpoint::open(Some(&path), run(9), &others).unwrap_err().contains("another run"));
        assert!(Checkpoint::open(Some(&path), run(8), &names).unwrap_err().contains("another run"));
        assert!(LineFile::open(&events, true, 99).unwrap_err().contains("shorter"));
        assert!(LineFile::open(&events, false, 0).is_err(), "a file that is there is not touched");
    }
}
