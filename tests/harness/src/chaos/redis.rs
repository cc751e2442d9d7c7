//! The Redis side: a server that dies and stands still, the network before it, and where the mode says so a replica.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::sync::watch;

use crate::faults::fault_proxy::{self, FaultProxy};
use crate::probes::oracle::Random;
use crate::probes::resp::try_redis_cmd;
use crate::probes::wait::{eventually, within};
use crate::servers::redis::RedisServer;

use super::Mode;

/// For a server to follow, or to lead.
const SOON: Duration = Duration::from_secs(20);
/// For a reply to come by that can be cut.
const CUT: Duration = Duration::from_secs(3);
/// How long before a replica is cut off a commit may have been made that does not reach it any more.
const LAG: Duration = Duration::from_millis(1_000);
/// A slow subscriber is not to be dropped: what it misses is to be the faults' doing.
const PATIENT: [&str; 5] = ["--client-output-buffer-limit", "pubsub", "0", "0", "0"];
/// A replica is not to wait for others before it is given the data.
const AT_ONCE: [&str; 2] = ["--repl-diskless-sync-delay", "0"];

/// A span of time in which what Redis held may have been lost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loss {
    pub(super) from: Instant,
    pub(super) to: Instant,
    /// Nothing was left; otherwise only the last commits are gone.
    pub(super) everything: bool,
}

/// How often what was done.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Killed with SIGKILL.
    pub kills: u64,
    /// Made a replica of its replica, with all its connections.
    pub demotions: u64,
    /// Data lost.
    pub losses: u64,
    /// Stopped and continued.
    pub pauses: u64,
    /// Connections cut within a reply.
    pub cuts: u64,
    /// All connections reset.
    pub resets: u64,
    /// Times in which every packet came late.
    pub delays: u64,
    /// Times of which every packet came when nobody waited for it any more.
    pub stragglers: u64,
    /// Times in which it forgot its scripts over and over.
    pub forgets: u64,
    /// Times in which no packet came, until the end.
    pub holes: u64,
}

/// A master with the proxy in front of it.
pub(super) struct RedisSide {
    server: RedisServer,
    proxy: FaultProxy,
    standby: Option<Standby>,
    /// Where the master is now, for those who do not go through the proxy.
    direct: watch::Sender<String>,
    random: Random,
    pub(super) counts: Counts,
    pub(super) losses: Vec<Loss>,
    /// The append-only file.
    folder: TempDir,
}

/// A replica and its way to the master.
struct Standby {
    server: RedisServer,
    link: FaultProxy,
}

impl Standby {
    /// Starts a replica that has caught up.
    async fn of(master: SocketAddr) -> Self {
        let link = FaultProxy::start(master).await;
        let from = format!("127.0.0.1 {}", link.addr().port());
        let arguments = [&PATIENT[..], &AT_ONCE, &["--replicaof", &from]].concat();
        let standby = Self { server: RedisServer::start_with(&arguments).await, link };
        standby.follows().await;
        standby
    }

    /// Makes a replica of what was a master.
    async fn from(server: RedisServer, master: SocketAddr) -> Self {
        let link = FaultProxy::start(master).await;
        server.cmd(&["REPLICAOF", "127.0.0.1", &link.addr().port().to_string()]).await;
        Self { server, link }
    }

    /// Waits until it has caught up.
    async fn follows(&self) {
        eventually(SOON, || async {
            let said = self.server.cmd(&["INFO", "replication"]).await.text().unwrap_or_default();
            if said.contains("master_link_status:up") { Ok(()) } else { Err(said) }
        })
        .await;
    }
}

impl RedisSide {
    pub(super) async fn start(mode: Mode, seed: u64) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().to_str().expect("a path in UTF-8").to_owned();
        let kept = ["--dir", &path, "--appendonly", "yes", "--appendfsync", "always"];
        let arguments = match mode {
            Mode::Kept => [&PATIENT[..], &kept].concat(),
            Mode::Emptied | Mode::FailedOver => [&PATIENT[..], &AT_ONCE].concat(),
        };
        let server = RedisServer::start_with(&arguments).await;
        let standby = match mode {
            Mode::FailedOver => Some(Standby::of(server.addr()).await),
            Mode::Kept | Mode::Emptied => None,
        };
        Self {
            proxy: FaultProxy::start(server.addr()).await,
            direct: watch::Sender::new(server.url()),
            random: Random::new(seed.wrapping_mul(5)),
            counts: Counts::default(),
            losses: Vec::new(),
            server,
            standby,
            folder,
        }
    }

    /// Where sandboxes find it.
    pub(super) fn url(&self) -> String {
        self.proxy.redis_url()
    }

    /// Where the master is, now and later.
    pub(super) fn direct(&self) -> watch::Receiver<String> {
        self.direct.subscribe()
    }

    /// The master.
    pub(super) fn server(&self) -> &RedisServer {
        &self.server
    }

    /// How many entries were ever put into the outbox.
    pub(super) async fn waited(&self) -> i64 {
        let Ok(outbox) = try_redis_cmd(&self.server.url(), &["XINFO", "STREAM", "outbox:sqs"]).await else {
            return 0;
        };
        let mut facts = outbox.items().chunks_exact(2);
        let added = facts.find(|fact| fact[0].text().as_deref() == Some("entries-added"));
        added.and_then(|fact| fact[1].int()).unwrap_or(0)
    }

    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.random.below(to - from))
    }

    /// SIGKILL, and after a while the same server again: with its append-only file, or with nothing.
    pub(super) async fn kill(&mut self) {
        let from = Instant::now();
        self.server.kill();
        let down = self.millis(0, 800);
        tokio::time::sleep(down).await;
        self.server.restart().await;
        self.counts.kills += 1;
        let written = self.folder.path().read_dir().is_ok_and(|mut files| files.next().is_some());
        if !written {
            self.lost(from, true);
        }
    }

    /// Cuts the replica off, and some commits later lets it take over. The master is killed, or every second time lives
    /// on as a replica, connections and all.
    pub(super) async fn fail_over(&mut self) {
        let Some(Standby { server: heir, link }) = self.standby.take() else { return };
        let from = Instant::now().checked_sub(LAG).unwrap_or_else(Instant::now);
        link.set(fault_proxy::Mode::Hole);
        let behind = self.millis(100, 700);
        tokio::time::sleep(behind).await;
        let dies = self.counts.losses.is_multiple_of(2);
        if dies {
            self.server.kill();
        }
        // What the link holds is gone with the master.
        link.set(fault_proxy::Mode::Reset);
        heir.cmd(&["REPLICAOF", "NO", "ONE"]).await;
        let old = std::mem::replace(&mut self.server, heir);
        // From now on it refuses to write: nothing is published that nobody hears.
        let demoted = if dies { None } else { Some(Standby::from(old, self.server.addr()).await) };
        self.proxy.retarget(self.server.addr());
        self.direct.send_replace(self.server.url());
        self.lost(from, false);
        if let Some(standby) = demoted {
            self.counts.demotions += 1;
            standby.follows().await;
            self.standby = Some(standby);
        } else {
            self.counts.kills += 1;
            self.standby = Some(Standby::of(self.server.addr()).await);
        }
    }

    fn lost(&mut self, from: Instant, everything: bool) {
        self.counts.losses += 1;
        self.losses.push(Loss { from, to: Instant::now(), everything });
    }

    /// SIGSTOP for a while: what is sent meanwhile is done afterwards, whoever still waits for it.
    pub(super) async fn pause(&mut self) {
        self.server.pause();
        let time = self.millis(200, 3_000);
        tokio::time::sleep(time).await;
        self.server.resume();
        self.counts.pauses += 1;
    }

    /// Cuts one connection somewhere within a reply.
    pub(super) async fn cut(&mut self) {
        let before = self.proxy.cuts();
        let bytes = self.random.below(1_500);
        self.proxy.set(fault_proxy::Mode::CutOnce(bytes));
        let _ = within(CUT, || async { self.proxy.cuts() > before }).await;
        self.proxy.set(fault_proxy::Mode::Pass);
        self.counts.cuts += self.proxy.cuts() - before;
    }

    /// Resets every connection, and new ones for a moment.
    pub(super) async fn reset(&mut self) {
        self.proxy.set(fault_proxy::Mode::Reset);
        let time = self.millis(5, 200);
        tokio::time::sleep(time).await;
        self.proxy.set(fault_proxy::Mode::Pass);
        self.counts.resets += 1;
    }

    /// Every packet comes late for a while.
    pub(super) async fn delay(&mut self) {
        let late = self.millis(5, 150);
        self.proxy.set(fault_proxy::Mode::Delay(late));
        let time = self.millis(500, 1_500);
        tokio::time::sleep(time).await;
        self.proxy.set(fault_proxy::Mode::Pass);
        self.counts.delays += 1;
    }

    /// What was sent in a short while arrives seconds later, when it has long been sent again and done.
    pub(super) async fn straggle(&mut self) {
        let late = self.millis(1_000, 3_000);
        self.proxy.set(fault_proxy::Mode::Straggle(late));
        let time = self.millis(100, 400);
        tokio::time::sleep(time).await;
        self.proxy.set(fault_proxy::Mode::Pass);
        self.counts.stragglers += 1;
    }

    /// Forgets the scripts again and again, also between two commands of a pipeline.
    pub(super) async fn forget(&mut self) {
        for _ in 0..40 {
            self.server.cmd(&["SCRIPT", "FLUSH", "SYNC"]).await;
            let pause = self.millis(1, 15);
            tokio::time::sleep(pause).await;
        }
        self.counts.forgets += 1;
    }

    /// No packet comes for a while, then all do.
    pub(super) async fn hole(&mut self) {
        self.proxy.set(fault_proxy::Mode::Hole);
        let time = self.millis(300, 1_500);
        tokio::time::sleep(time).await;
        self.proxy.set(fault_proxy::Mode::Pass);
        self.counts.holes += 1;
    }
}
