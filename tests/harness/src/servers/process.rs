//! Programs as child processes that never outlive the test.
//!
//! Each child runs in its own process group, together with a watchdog shell. The watchdog waits on a pipe that the test
//! process holds, and kills the whole group when the pipe closes. That happens when the [`Process`] is dropped, and also
//! when the test process ends without running destructors.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::probes::wait::within;

/// `$0` is the program, `$@` its arguments. `kill 0` reaches only this process group, even after the process id of the
/// program was reused.
const WATCHDOG: &str = r#"exec 3<&0 </dev/null
( read -r _ <&3; kill -KILL 0 ) >/dev/null 2>&1 &
exec 3<&-
exec "$0" "$@""#;

/// A program to run, and where its output goes.
#[derive(Debug)]
pub struct Spec<'a> {
    /// The program.
    pub program: &'a Path,
    /// Its arguments.
    pub args: Vec<String>,
    /// Additional environment variables.
    pub env: Vec<(String, String)>,
    /// Whether to start from an empty environment, apart from `PATH` and the variable of the coverage tool.
    pub clear_env: bool,
    /// Whether standard output goes through a pipe (see [`Process::take_stdout`]) instead of into a file.
    pub pipe_stdout: bool,
}

impl<'a> Spec<'a> {
    /// A program with arguments in the environment of the test.
    pub fn new(program: &'a Path, args: &[&str]) -> Self {
        let args = args.iter().map(ToString::to_string).collect();
        Self { program, args, env: Vec::new(), clear_env: false, pipe_stdout: false }
    }
}

/// A running child process. Killed on drop.
#[derive(Debug)]
pub struct Process {
    child: Child,
    dir: TempDir,
    name: String,
}

impl Process {
    /// Starts the program in a new temporary folder, which is also its working directory.
    pub fn start(spec: &Spec<'_>) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let name = spec.program.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        // The child has a different working directory, so make the path absolute.
        let program = std::path::absolute(spec.program).expect("a path");
        let mut command = Command::new("sh");
        if spec.clear_env {
            command.env_clear();
            for key in ["PATH", "LLVM_PROFILE_FILE"] {
                if let Some(value) = std::env::var_os(key) {
                    command.env(key, value);
                }
            }
        }
        command
            .arg("-c")
            .arg(WATCHDOG)
            .arg(program)
            .args(&spec.args)
            .envs(spec.env.iter().map(|(k, v)| (k, v)))
            .current_dir(dir.path())
            .process_group(0)
            .stdin(Stdio::piped())
            .stderr(fs::File::create(dir.path().join("stderr")).expect("a file for stderr"));
        if spec.pipe_stdout {
            command.stdout(Stdio::piped());
        } else {
            command.stdout(fs::File::create(dir.path().join("stdout")).expect("a file for stdout"));
        }
        let child = command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self { child, dir, name }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The folder it runs in.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Takes the pipe of its standard output, if the [`Spec`] asked for one.
    pub fn take_stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// The text it has written to standard error so far.
    pub fn stderr(&self) -> String {
        read(&self.dir.path().join("stderr"))
    }

    /// The text it has written to its output files so far.
    pub fn output(&self) -> String {
        format!("{}{}", read(&self.dir.path().join("stdout")), self.stderr())
    }

    /// Its exit status, or `None` while it runs.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the state of a child")
    }

    /// Waits until it exits. `None` if it still runs after `timeout`.
    pub async fn wait(&mut self, timeout: Duration) -> Option<ExitStatus> {
        within(timeout, || std::future::ready(self.exit_status())).await.ok()
    }

    /// Sends a signal by name (`TERM`, `STOP`, `CONT`, ...) to the program alone.
    pub fn signal(&self, name: &str) {
        // Use the built-in `kill` of the shell, because slim images have no such program.
        let status =
            Command::new("sh").args(["-c", r#"kill -s "$0" "$1""#, name, &self.id().to_string()]).status();
        assert!(status.is_ok_and(|s| s.success()), "cannot send SIG{name} to {}", self.name);
    }

    /// Sends SIGKILL and waits until the process has exited.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until `ready` returns true. Panics with the program's output if it exits first or takes too long.
    pub async fn ready<F, Fut>(&mut self, timeout: Duration, ready: F)
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = bool>,
    {
        if let Err(output) = self.try_ready(timeout, ready).await {
            panic!("{} did not get ready; its output:\n{output}", self.name);
        }
    }

    /// Like [`Process::ready`], but returns the output instead of panicking.
    pub async fn try_ready<F, Fut>(&mut self, timeout: Duration, mut ready: F) -> Result<(), String>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = bool>,
    {
        let exited_first = within(timeout, || {
            let exited = self.exit_status().is_some();
            let check = ready();
            async move { if exited { Some(true) } else { check.await.then_some(false) } }
        });
        match exited_first.await {
            Ok(false) => Ok(()),
            Ok(true) | Err(_) => Err(self.output()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        // Dropping `child` closes the pipe. The watchdog then kills any processes that the program left running.
    }
}

/// Finds a program: first the path in the variable `env`, then each name on `PATH` and in `.tools/venv/bin` of the
/// workspace. If there is none, panics and says what to do.
pub fn find_program(env: &str, names: &[&str]) -> PathBuf {
    if let Some(path) = std::env::var_os(env).filter(|value| !value.is_empty()) {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "{env} is {}, which is not a file", path.display());
        return path;
    }
    let tools = workspace().join(".tools/venv/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).chain([tools]).collect();
    let found =
        folders.iter().flat_map(|dir| names.iter().map(move |name| dir.join(name))).find(|p| p.is_file());
    found.unwrap_or_else(|| {
        panic!("{} not found: run `make tools`, or set {env} to its path", names.join(" or "))
    })
}

/// The text of a file of the workspace.
pub fn read_workspace_file(path: &str) -> String {
    let path = workspace().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Builds a program of the workspace. Returns its path.
pub fn build(package: &str, bin: &str) -> PathBuf {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    // Build into the target directory of this test, so that both are built with coverage or both without.
    let own = std::env::current_exe().expect("a test has a path");
    let target = own.ancestors().nth(3).expect("target/debug/deps/test");
    let mut command = Command::new(cargo);
    command.args(["build", "--package", package, "--bin", bin, "--message-format", "json", "--target-dir"]);
    // What cargo says about the package of this test would make build scripts run again, and then much of the rest.
    let own_package = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(own_package)) {
        command.env_remove(name);
    }
    let output = command.arg(target).current_dir(workspace()).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).expect("cargo writes JSON");
    let executable = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(PathBuf::from(message["executable"].as_str()?))
    };
    lines.lines().rev().find_map(executable).expect("cargo names the executable")
}

/// The root folder of the workspace.
pub fn workspace() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A free port P between 12,000 and 22,000. P + 10,000, which a Redis cluster uses for its bus, is free too.
///
/// The range is below the ports that the kernel uses for outgoing connections, so no connection takes the port before
/// the child binds it. Each port is returned once per test process.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..10_000 {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 12_000 + (std::process::id().wrapping_mul(151).wrapping_add(step) % 10_000) as u16;
        if [port, port + 10_000].iter().all(|&p| std::net::TcpListener::bind(("127.0.0.1", p)).is_ok()) {
            return port;
        }
    }
    panic!("no free port between 12000 and 22000");
}

fn read(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
