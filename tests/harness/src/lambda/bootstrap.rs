//! The Lambda binary as a child process, with the environment that AWS gives it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::lambda::runtime_api::RuntimeApi;
use crate::probes::wait::{eventually, within};
use crate::servers::process::{Process, Spec, build};

/// The variables that Lambda sets. `lambda_runtime` panics without most of them.
pub const ENVIRONMENT: [(&str, &str); 8] = [
    ("AWS_ACCESS_KEY_ID", "test"),
    ("AWS_SECRET_ACCESS_KEY", "test"),
    ("AWS_REGION", "eu-central-1"),
    ("AWS_LAMBDA_FUNCTION_NAME", "test"),
    ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
    ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
    ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/test"),
    ("AWS_LAMBDA_LOG_STREAM_NAME", "test"),
];

/// The path of the Lambda binary. Builds it first if necessary.
pub fn bootstrap_path() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| build("events-lambda", "bootstrap")).clone()
}

/// A running process of the function. Killed on drop.
#[derive(Debug)]
pub struct Bootstrap {
    process: Process,
    lines: Arc<Mutex<Vec<String>>>,
    reader: JoinHandle<()>,
}

impl Bootstrap {
    /// Starts the binary with the variables that Lambda sets, those in `env`, and no others.
    pub fn start(binary: &Path, env: &[(&str, &str)], api: &RuntimeApi) -> Self {
        let mut spec = Spec::new(binary, &[]);
        spec.clear_env = true;
        spec.pipe_stdout = true;
        let pairs = ENVIRONMENT.iter().chain(env);
        spec.env = pairs.map(|(key, value)| (key.to_string(), value.to_string())).collect();
        spec.env.push(("RUST_BACKTRACE".into(), "1".into()));
        spec.env.push(("AWS_LAMBDA_RUNTIME_API".into(), api.addr().to_string()));
        // If coverage is measured, measure it in the child too.
        spec.env.extend(std::env::var("LLVM_PROFILE_FILE").map(|file| ("LLVM_PROFILE_FILE".into(), file)));
        spec.env.push(("_HANDLER".into(), "bootstrap".into()));
        let mut process = Process::start(&spec);
        let stdout = process.take_stdout().expect("the pipe asked for");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&lines);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                shared.lock().unwrap().push(line);
            }
        });
        Self { process, lines, reader }
    }

    /// Waits until the process polls the Runtime API for its first event. Panics with its output if it fails or takes
    /// longer than `timeout`.
    pub async fn initialised(&self, api: &RuntimeApi, timeout: Duration) {
        api.initialised(timeout).await.unwrap_or_else(|error| panic!("{error}\n{}", self.output()));
    }

    /// The lines it has written to standard output so far: JSON logs and metrics.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// The lines that contain a text.
    pub fn lines_containing(&self, text: &str) -> Vec<String> {
        self.lines().into_iter().filter(|line| line.contains(text)).collect()
    }

    /// The lines that are JSON, parsed.
    pub fn json_lines(&self) -> Vec<serde_json::Value> {
        self.lines().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits for the first line that contains a text. After `timeout` panics with all output.
    pub async fn wait_for_line(&self, text: &str, timeout: Duration) -> String {
        let found = within(timeout, || async { self.lines_containing(text).into_iter().next() }).await;
        found.unwrap_or_else(|_| panic!("no line with {text:?} within {timeout:?}:\n{}", self.output()))
    }

    /// The text it has written to standard error so far (panics, messages of the runtime).
    pub fn stderr(&self) -> String {
        self.process.stderr()
    }

    /// All its output so far, for a failure message.
    pub fn output(&self) -> String {
        format!("{}\n{}", self.lines().join("\n"), self.stderr())
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Its exit status, or `None` while it runs.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.process.exit_status()
    }

    /// Waits until it has exited and its output is read. `None` if it still runs after `timeout`.
    pub async fn wait(&mut self, timeout: Duration) -> Option<ExitStatus> {
        let status = self.process.wait(timeout).await?;
        eventually(timeout, || async { self.reader.is_finished() }).await;
        Some(status)
    }

    /// Sends SIGTERM, as AWS does before it ends a sandbox, and waits. AWS gives 500 ms. `None` means that the process
    /// did not exit within `timeout` and was killed.
    pub async fn terminate(&mut self, timeout: Duration) -> Option<ExitStatus> {
        if self.exit_status().is_none() {
            self.process.signal("TERM");
        }
        let status = self.process.wait(timeout).await;
        if status.is_none() {
            self.process.kill();
        }
        status
    }

    /// Sends SIGSTOP. AWS freezes a sandbox between invocations.
    pub fn freeze(&self) {
        self.process.signal("STOP");
    }

    /// Sends SIGCONT after [`Bootstrap::freeze`].
    pub fn thaw(&self) {
        self.process.signal("CONT");
    }

    /// Sends SIGKILL, whatever the process is doing.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}
