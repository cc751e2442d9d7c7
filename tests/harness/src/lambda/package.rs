//! The zip that `make package` writes.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::servers::process::{find_program, workspace};

/// Unpacks as Lambda does, with the permissions of each file. Prints name, mode and time of each file in the zip.
const UNPACK: &str = r#"
import json, os, sys, zipfile
archive = zipfile.ZipFile(sys.argv[1])
for entry in archive.infolist():
    os.chmod(archive.extract(entry, sys.argv[2]), entry.external_attr >> 16 & 0o7777)
print(json.dumps([[entry.filename, entry.external_attr >> 16, list(entry.date_time)] for entry in archive.infolist()]))
"#;

/// An unpacked zip. Its folder is deleted on drop.
#[derive(Debug)]
pub struct Package {
    zip: PathBuf,
    files: Value,
    dir: TempDir,
}

impl Package {
    /// The zip that `BOOTSTRAP_ZIP` names, if it is set.
    pub fn from_env() -> Option<Self> {
        let name = std::env::var_os("BOOTSTRAP_ZIP").filter(|name| !name.is_empty())?;
        // The name is relative to the workspace, but a test runs in the folder of its package.
        Some(Self::unpack(&workspace().join(name)))
    }

    /// Unpacks a zip. Panics if it cannot be read.
    pub fn unpack(zip: &Path) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut command = Command::new(find_program("PYTHON", &["python3"]));
        let output = command.args(["-c", UNPACK]).arg(zip).arg(dir.path()).output().expect("python3 runs");
        assert!(output.status.success(), "{}: {}", zip.display(), String::from_utf8_lossy(&output.stderr));
        let files = serde_json::from_slice(&output.stdout).expect("a list of files");
        Self { zip: zip.to_owned(), files, dir }
    }

    /// Name, mode and time of every file in the zip.
    pub fn files(&self) -> &Value {
        &self.files
    }

    /// Size of the zip, bytes.
    pub fn size(&self) -> u64 {
        self.zip.metadata().map_or(0, |data| data.len())
    }

    /// The unpacked executable.
    pub fn binary(&self) -> PathBuf {
        self.dir.path().join("bootstrap")
    }

    /// The program to start: the executable itself, or a script that runs it with `BOOTSTRAP_RUNNER`. That variable
    /// names a CPU emulator with its arguments, for an executable that was built for another CPU.
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
