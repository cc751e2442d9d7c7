//! The zip that `make package` writes.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::servers::process::{find_program, workspace};

/// Unpacks as Lambda does, with the permissions of each entry, and prints what the entries say of themselves.
const UNPACK: &str = r#"
import json, os, sys, zipfile
archive = zipfile.ZipFile(sys.argv[1])
for entry in archive.infolist():
    os.chmod(archive.extract(entry, sys.argv[2]), entry.external_attr >> 16 & 0o7777)
print(json.dumps([[entry.filename, entry.external_attr >> 16, list(entry.date_time)] for entry in archive.infolist()]))
"#;

/// An unpacked zip; the folder goes on drop.
#[derive(Debug)]
pub struct Package {
    zip: PathBuf,
    entries: Value,
    dir: TempDir,
}

impl Package {
    /// The zip that `BOOTSTRAP_ZIP` names, if any.
    pub fn from_env() -> Option<Self> {
        let name = std::env::var_os("BOOTSTRAP_ZIP").filter(|name| !name.is_empty())?;
        // A test's working directory is its package's; the caller's was the workspace's.
        Some(Self::unpack(&workspace().join(name)))
    }

    /// Unpacks a zip; panics when it cannot be read.
    pub fn unpack(zip: &Path) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut command = Command::new(find_program("PYTHON", &["python3"]));
        let output = command.args(["-c", UNPACK]).arg(zip).arg(dir.path()).output().expect("python3 runs");
        assert!(output.status.success(), "{}: {}", zip.display(), String::from_utf8_lossy(&output.stderr));
        let entries = serde_json::from_slice(&output.stdout).expect("a list of entries");
        Self { zip: zip.to_owned(), entries, dir }
    }

    /// Name, mode and time of every entry.
    pub fn entries(&self) -> &Value {
        &self.entries
    }

    /// Size of the zip, bytes.
    pub fn size(&self) -> u64 {
        self.zip.metadata().map_or(0, |data| data.len())
    }

    /// The unpacked executable.
    pub fn binary(&self) -> PathBuf {
        self.dir.path().join("bootstrap")
    }

    /// What to start: the executable, or, where `BOOTSTRAP_RUNNER` names a program with arguments (an emulator of the
    /// processor it was built for), a script that runs it there.
    pub fn program(&self) -> PathBuf {
        let Some(runner) = std::env::var("BOOTSTRAP_RUNNER").ok().filter(|runner| !runner.is_empty()) else {
            return self.binary();
        };
        let script = self.dir.path().join("run");
        std::fs::write(&script, format!("#!/bin/sh\nexec {runner} '{}' \"$@\"\n", self.binary().display()))
            .expect("a file for the script");
        std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).expect("an executable script");
        script
    }
}
