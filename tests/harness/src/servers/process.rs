//! Programs as child processes that never outlive the test.
//!
//! A child runs in a process group of its own next to a watchdog shell that waits on a pipe we hold. The pipe
//! closes when the [`Process`] is dropped, and also when the test process dies in any other way (a static is
//! never dropped, a killed test runs no destructor): the watchdog then kills the whole group.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::probes::wait::within;

/// `$0` is the program, `$@` its arguments; `kill 0` reaches the group and nobody else, even after the program's
/// process id has been given to another program.
const WATCHDOG: &str = r#"exec 3<&0 </dev/null
( read -r _ <&3; kill -KILL 0 ) >/dev/null 2>&1 &
exec 3<&-
exec "$0" "$@""#;

/// What to run and where its output goes.
#[derive(Debug)]
pub struct Spec<'a> {
    /// The program.
    pub program: &'a Path,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables added to the environment.
    pub env: Vec<(String, String)>,
    /// Starts from an empty environment (plus `PATH` and what coverage tools need).
    pub clear_env: bool,
    /// Standard output through a pipe, see [`Process::take_stdout`]; otherwise into a file.
    pub pipe_stdout: bool,
}

impl<'a> Spec<'a> {
    /// A program with arguments in the environment of the test.
    pub fn new(program: &'a Path, args: &[&str]) -> Self {
        let args = args.iter().map(ToString::to_string).collect();
        Self { program, args, env: Vec::new(), clear_env: false, pipe_stdout: false }
    }
}

/// A running child; killed on drop.
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
        // The child's working directory is another one than ours.
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

    /// Its standard output, once, when the [`Spec`] asked for a pipe.
    pub fn take_stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> String {
        read(&self.dir.path().join("stderr"))
    }

    /// Everything it has written to files so far.
    pub fn output(&self) -> String {
        format!("{}{}", read(&self.dir.path().join("stdout")), self.stderr())
    }

    /// How it ended, or `None` while it runs.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the state of a child")
    }

    /// Waits for its end; `None` when it still runs after `timeout`.
    pub async fn wait(&mut self, timeout: Duration) -> Option<ExitStatus> {
        within(timeout, || std::future::ready(self.exit_status())).await.ok()
    }

    /// Sends a signal by name (`TERM`, `STOP`, `CONT`, ...) to the program alone.
    pub fn signal(&self, name: &str) {
        // The shell's own `kill`: slim images have no program of that name.
        let status =
            Command::new("sh").args(["-c", r#"kill -s "$0" "$1""#, name, &self.id().to_string()]).status();
        assert!(status.is_ok_and(|s| s.success()), "cannot send SIG{name} to {}", self.name);
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until `ready` says so. Panics with the program's output when it ends before, or takes too long.
    pub async fn ready<F, Fut>(&mut self, timeout: Duration, ready: F)
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = bool>,
    {
        if let Err(output) = self.try_ready(timeout, ready).await {
            panic!("{} did not get ready; it said:\n{output}", self.name);
        }
    }

    /// As [`Process::ready`], but returns the output instead of panicking.
    pub async fn try_ready<F, Fut>(&mut self, timeout: Duration, mut ready: F) -> Result<(), String>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = bool>,
    {
        let ended = within(timeout, || {
            let ended = self.exit_status().is_some();
            let look = ready();
            async move { if ended { Some(true) } else { look.await.then_some(false) } }
        });
        match ended.await {
            Ok(false) => Ok(()),
            Ok(true) | Err(_) => Err(self.output()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        // The pipe closes with `child`, which ends the watchdog and whatever the program left behind.
    }
}

/// Finds a program: the variable `env`, then each name on `PATH`, then in `.tools/venv/bin` of the workspace.
/// Panics with what to do when there is none.
pub fn find_program(env: &str, names: &[&str]) -> PathBuf {
    if let Some(path) = std::env::var_os(env).filter(|value| !value.is_empty()) {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "{env} names {}, which is no file", path.display());
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

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A free port P between 12,000 and 22,000 whose P + 10,000 (a Redis cluster's bus) is free as well.
///
/// Below the range the kernel takes for outgoing connections, so that none of those can snatch it before the
/// child binds it; each port is handed out once per test process.
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
