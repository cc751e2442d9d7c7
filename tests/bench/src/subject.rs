//! The processes that are measured.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use events_harness::lambda::bootstrap::ENVIRONMENT;
use events_harness::lambda::runtime_api::{Outcome, RuntimeApi};
use events_harness::servers::process::workspace;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::Res;
use crate::workload::Batch;

/// How long a function may take to start.
const START: Duration = Duration::from_secs(30);

/// Which process is measured.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// A program that takes its work from the Runtime API.
    Lambda(Vec<String>),
    /// A replay of recorded bytes: the recording, and which part of it.
    Replay(PathBuf, &'static str),
}

/// A process that is measured, and its name in the tables.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    /// The name in the tables.
    pub(crate) name: String,
    /// The process.
    pub(crate) kind: Kind,
}

/// The systems that a subject talks to.
#[derive(Clone, Debug)]
pub(crate) struct Systems {
    /// `host:port` of Redis.
    pub(crate) redis: String,
    /// The endpoint of SQS.
    pub(crate) sqs: String,
}

/// A child process. Killed on drop.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    link: Link,
    log: PathBuf,
    /// From the start of the process to its first poll.
    pub(crate) init: Duration,
}

enum Link {
    Api(Box<RuntimeApi>),
    Control(tokio::sync::Mutex<TcpStream>),
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Api(_) => "Api",
            Self::Control(_) => "Control",
        })
    }
}

/// The folder for logs and results.
pub(crate) fn folder() -> Res<PathBuf> {
    let folder = workspace().join("target/bench");
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(folder)
}

/// This program.
pub(crate) fn this_program() -> Res<String> {
    let path = std::env::current_exe().map_err(|error| error.to_string())?;
    Ok(path.to_string_lossy().into_owned())
}

impl Subject {
    /// A program that takes its work from the Runtime API.
    pub(crate) fn lambda(name: &str, command: &[String]) -> Self {
        Self { name: name.to_owned(), kind: Kind::Lambda(command.to_vec()) }
    }

    /// Starts it and waits until it asks for work.
    pub(crate) async fn start(&self, systems: &Systems) -> Res<Running> {
        match &self.kind {
            Kind::Lambda(command) => self.start_lambda(command, systems).await,
            Kind::Replay(recording, part) => self.start_replay(recording, part, systems).await,
        }
    }

    async fn start_lambda(&self, command: &[String], systems: &Systems) -> Res<Running> {
        let api = RuntimeApi::start().await;
        let began = Instant::now();
        let (child, log) = spawn(&self.name, command, &environment(systems, &api.addr().to_string()))?;
        let mut running = Running { child, link: Link::Api(Box::new(api)), log, init: Duration::ZERO };
        if let Link::Api(api) = &running.link {
            let ready = api.initialised(START).await;
            ready.map_err(|error| running.failed(&error))?;
            running.init = api.first_poll().map_or(Duration::ZERO, |at| at - began);
        }
        Ok(running)
    }

    async fn start_replay(&self, recording: &std::path::Path, part: &str, systems: &Systems) -> Res<Running> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| error.to_string())?;
        let control = listener.local_addr().map_err(|error| error.to_string())?.to_string();
        let sqs = systems.sqs.trim_start_matches("http://");
        let recording = recording.to_string_lossy();
        let program = this_program()?;
        let arguments = [&program, "replay", &control, &*recording, part, &systems.redis, sqs];
        let began = Instant::now();
        let (child, log) = spawn(&self.name, &arguments.map(str::to_owned), &[])?;
        let accepted = tokio::time::timeout(START, listener.accept()).await;
        let (stream, _) =
            accepted.map_err(|_| "the replay did not start")?.map_err(|error| error.to_string())?;
        let _ = stream.set_nodelay(true);
        Ok(Running { child, link: Link::Control(stream.into()), log, init: began.elapsed() })
    }
}

fn environment(systems: &Systems, api: &str) -> Vec<(&'static str, String)> {
    let queue = |name: &str| format!("{}/000000000000/{name}.fifo", systems.sqs);
    let mut variables: Vec<_> =
        ENVIRONMENT.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    variables.push(("_HANDLER", "bootstrap".to_owned()));
    variables.push(("REDIS_URL", format!("redis://{}", systems.redis)));
    variables.push(("AWS_ENDPOINT_URL_SQS", systems.sqs.clone()));
    variables.push(("EVENTS_QUEUE_URL", queue("events")));
    variables.push(("EVENTS_DLQ_URL", queue("dlq")));
    variables.push(("AWS_LAMBDA_RUNTIME_API", api.to_owned()));
    variables
}

fn spawn(name: &str, command: &[String], env: &[(&str, String)]) -> Res<(Child, PathBuf)> {
    let (program, arguments) = command.split_first().ok_or("an empty command")?;
    let file_name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let log = folder()?.join(format!("{file_name}.log"));
    let file = || File::options().create(true).append(true).open(&log).map_err(|error| error.to_string());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let child = File::create(&log)
        .and_then(|_| {
            let (out, err) = (file().map_err(std::io::Error::other)?, file().map_err(std::io::Error::other)?);
            let mut command = Command::new(program);
            command.args(arguments).env_clear().env("PATH", path).envs(env.iter().map(|(k, v)| (k, v)));
            command.stdin(Stdio::null()).stdout(out).stderr(err).spawn()
        })
        .map_err(|error| format!("{name}: {program} does not start: {error}"))?;
    Ok((child, log))
}

impl Running {
    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Gives it one batch. Returns the time until the response. A record that failed is an error: it would make the
    /// batch cheaper.
    pub(crate) async fn run(&self, batch: &Batch) -> Res<Duration> {
        match &self.link {
            Link::Api(api) => {
                let invocation = api.invoke(batch.body.clone()).await;
                match &invocation.outcome {
                    Outcome::Ok(bytes) if is_success(bytes) => Ok(invocation.duration),
                    Outcome::Ok(bytes) => Err(self.failed(&String::from_utf8_lossy(bytes))),
                    other => Err(self.failed(&format!("{other:?}"))),
                }
            }
            Link::Control(stream) => {
                let mut stream = stream.lock().await;
                let began = Instant::now();
                let answer = async {
                    stream.write_all(b"b").await?;
                    stream.read_u8().await
                };
                answer.await.map_err(|error| self.failed(&error.to_string()))?;
                Ok(began.elapsed())
            }
        }
    }

    fn failed(&self, what: &str) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(5).collect();
        format!("{what}\n{}", last.into_iter().rev().collect::<Vec<_>>().join("\n"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_success(response: &[u8]) -> bool {
    let response: serde_json::Value = serde_json::from_slice(response).unwrap_or_default();
    response["batchItemFailures"].as_array().is_some_and(Vec::is_empty)
}
