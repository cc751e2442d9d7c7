//! A PostgreSQL server. Tests share one, each with a database of its own, or start one to stop and break it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::servers::process::{Process, Spec, find_program, free_port};
use crate::servers::tls::Identity;

/// How long a server may take to start on a busy machine.
const START: Duration = Duration::from_secs(60);

/// A server on a free port of loopback. Killed on drop.
#[derive(Debug)]
pub struct PostgresServer {
    port: u16,
    data: TempDir,
    settings: Vec<String>,
    process: Process,
}

impl PostgresServer {
    /// The server that all tests of this binary share.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<PostgresServer> = OnceCell::const_new();
        SHARED.get_or_init(Self::start).await
    }

    /// Starts a server for one test.
    pub async fn start() -> Self {
        Self::start_with(&[], &[]).await
    }

    /// Starts a server that accepts TLS, with the certificate of `identity`.
    pub async fn start_with_tls(identity: &Identity) -> Self {
        let files = [("server.crt", identity.certificate.as_str()), ("server.key", &identity.key)];
        Self::start_with(&["ssl=on"], &files).await
    }

    /// Starts a server with additional settings, such as `ssl=on`, and with files in its data folder.
    pub async fn start_with(settings: &[&str], files: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().expect("a temporary folder");
        if let Some(user) = owner() {
            run(Command::new("chown").arg(user).arg(data.path()));
        }
        let folder = data.path().join("db");
        let mut initdb = as_owner(&program("initdb"));
        initdb.args(["-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8", "-D"]);
        run(initdb.arg(&folder));
        for (name, text) in files {
            let path = folder.join(name);
            fs::write(&path, text).expect("a file of the server");
            // PostgreSQL refuses a key that others may read.
            run(Command::new("chmod").arg("600").arg(&path));
            if let Some(user) = owner() {
                run(Command::new("chown").arg(user).arg(&path));
            }
        }
        let (port, settings) = (free_port(), settings.iter().map(ToString::to_string).collect::<Vec<_>>());
        let process = launch(port, data.path(), &settings).await;
        Self { port, data, settings, process }
    }

    /// Creates a database and returns it.
    pub async fn database(&self) -> Database {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut connection = PgConnection::connect(&self.url("postgres")).await.expect("a connection");
        execute(&mut connection, &format!("CREATE DATABASE {name}")).await;
        let url = self.url(&name);
        let options: PgConnectOptions = url.parse().expect("a URL");
        Database { pool: PgPool::connect_lazy_with(options), url }
    }

    /// The URL of a database, for its owner.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends the server at once, without a checkpoint, and starts it again on the same data.
    pub async fn crash_and_restart(&mut self) {
        self.process.signal("QUIT");
        assert!(self.process.wait(START).await.is_some(), "PostgreSQL does not end");
        self.process = launch(self.port, self.data.path(), &self.settings).await;
    }
}

/// A database of one test.
#[derive(Clone, Debug)]
pub struct Database {
    /// Connections to it, as its owner.
    pub pool: PgPool,
    /// Its URL.
    pub url: String,
}

impl Database {
    /// Runs statements. Panics if one fails.
    pub async fn run(&self, statements: &str) {
        let result = sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&self.pool).await;
        result.unwrap_or_else(|error| panic!("{error}: {statements}"));
    }

    /// The first value of the first row, as a whole number.
    pub async fn number(&self, query: &str) -> i64 {
        let result =
            sqlx::query_scalar(AssertSqlSafe(format!("SELECT ({query})::int8"))).fetch_one(&self.pool).await;
        result.unwrap_or_else(|error| panic!("{error}: {query}"))
    }

    /// The first value of the first row, as text.
    pub async fn text(&self, query: &str) -> String {
        let result =
            sqlx::query_scalar(AssertSqlSafe(format!("SELECT ({query})::text"))).fetch_one(&self.pool).await;
        result.unwrap_or_else(|error| panic!("{error}: {query}"))
    }
}

async fn execute(connection: &mut PgConnection, statement: &str) {
    let result = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(connection).await;
    result.unwrap_or_else(|error| panic!("{error}: {statement}"));
}

async fn launch(port: u16, data: &Path, more: &[String]) -> Process {
    let (postgres, folder, port) = (program("postgres"), data.join("db"), port.to_string());
    let settings =
        ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "max_connections=200"];
    let mut command = as_owner(&postgres);
    command.arg("-D").arg(folder).args(["-p", &port]);
    let settings = settings.into_iter().chain(more.iter().map(String::as_str));
    command.args(settings.flat_map(|setting| ["-c", setting]));
    let args: Vec<&str> = command.get_args().map(|arg| arg.to_str().expect("UTF-8")).collect();
    let mut process = Process::start(&Spec::new(Path::new(command.get_program()), &args));
    let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
    process
        .ready(START, || {
            let url = url.clone();
            async move { PgConnection::connect(&url).await.is_ok() }
        })
        .await;
    process
}

/// PostgreSQL refuses to run as root: then another user owns the server.
fn owner() -> Option<&'static str> {
    let id = Command::new("id").arg("-u").output().expect("id runs").stdout;
    (String::from_utf8_lossy(&id).trim() == "0").then_some("postgres")
}

fn as_owner(program: &Path) -> Command {
    let Some(user) = owner() else { return Command::new(program) };
    // Unlike runuser it starts no process of its own, so a signal reaches the server.
    let mut command = Command::new(find_program("SETPRIV", &["setpriv"]));
    let (uid, gid) = (format!("--reuid={user}"), format!("--regid={user}"));
    command.args([&uid, &gid, "--init-groups", "--"]).arg(program).current_dir("/");
    command
}

/// A program of PostgreSQL: in the folder `POSTGRES_BIN`, else where Debian keeps it, else on the path.
fn program(name: &str) -> PathBuf {
    if let Some(folder) = std::env::var_os("POSTGRES_BIN") {
        return Path::new(&folder).join(name);
    }
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|version| {
            let path = version.path().join("bin").join(name);
            Some((version.file_name().to_str()?.parse().ok()?, path)).filter(|(_, path)| path.exists())
        })
        .collect();
    found.sort();
    found.pop().map_or_else(|| find_program("POSTGRES", &[name]), |(_, path)| path)
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
