//! A Redis with faults: a server that is killed and paused, a proxy in front of it, and a replica if it is to fail over.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::sync::watch;

use crate::faults::fault_proxy::{FaultProxy, ProxyMode};
use crate::probes::resp::try_redis_cmd;
use crate::probes::wait::within;
use crate::random::Random;
use crate::servers::redis::RedisServer;

use super::RedisData;

/// Wait at most this long for a reply to cut.
const CUT: Duration = Duration::from_secs(3);
/// Commits made up to this long before the replica was cut off may be missing on it.
const LAG: Duration = Duration::from_millis(1_000);
/// Keeps Redis from disconnecting a slow subscriber, so that only faults make it miss publications.
const NO_PUBSUB_LIMIT: [&str; 5] = ["--client-output-buffer-limit", "pubsub", "0", "0", "0"];
/// Starts the replication at once, instead of waiting for more replicas.
const NO_SYNC_DELAY: [&str; 2] = ["--repl-diskless-sync-delay", "0"];

/// A time span in which Redis lost data.
#[derive(Clone, Copy, Debug)]
pub(super) struct DataLoss {
    pub(super) from: Instant,
    pub(super) to: Instant,
    /// True if all data was lost, false if only the last commits were.
    pub(super) everything: bool,
}

/// How often each fault occurred.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Kills with SIGKILL.
    pub kills: u64,
    /// Times the primary became a replica and kept its connections.
    pub demotions: u64,
    /// Data losses.
    pub losses: u64,
    /// Times the process was stopped and continued.
    pub pauses: u64,
    /// Connections cut within a reply.
    pub cuts: u64,
    /// Times all connections were reset.
    pub resets: u64,
    /// Periods in which every packet was delayed.
    pub delays: u64,
    /// Periods whose packets arrived long after the client had given up.
    pub stragglers: u64,
    /// Periods in which the scripts were flushed repeatedly.
    pub script_losses: u64,
    /// Periods in which packets were held until the end of the period.
    pub stalls: u64,
}

/// A primary with a proxy in front of it.
pub(super) struct FaultyRedis {
    server: RedisServer,
    proxy: FaultProxy,
    standby: Option<Standby>,
    /// The URL of the current primary, not through the proxy.
    direct: watch::Sender<String>,
    random: Random,
    pub(super) counts: Counts,
    pub(super) losses: Vec<DataLoss>,
    /// The folder of the append-only file.
    folder: TempDir,
}

/// A replica, and the proxy between it and the primary.
struct Standby {
    server: RedisServer,
    link: FaultProxy,
}

impl Standby {
    /// Starts a replica and waits until it has caught up.
    async fn of(master: SocketAddr) -> Self {
        let link = FaultProxy::start(master).await;
        let from = format!("127.0.0.1 {}", link.addr().port());
        let arguments = [&NO_PUBSUB_LIMIT[..], &NO_SYNC_DELAY, &["--replicaof", &from]].concat();
        let standby = Self { server: RedisServer::start_with(&arguments).await, link };
        standby.server.caught_up().await;
        standby
    }

    /// Turns a former primary into a replica.
    async fn from(server: RedisServer, master: SocketAddr) -> Self {
        let link = FaultProxy::start(master).await;
        server.cmd(&["REPLICAOF", "127.0.0.1", &link.addr().port().to_string()]).await;
        Self { server, link }
    }
}

impl FaultyRedis {
    pub(super) async fn start(data: RedisData, seed: u64) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().to_str().expect("a path in UTF-8").to_owned();
        let kept = ["--dir", &path, "--appendonly", "yes", "--appendfsync", "always"];
        let arguments = match data {
            RedisData::Kept => [&NO_PUBSUB_LIMIT[..], &kept].concat(),
            RedisData::Emptied | RedisData::FailedOver => [&NO_PUBSUB_LIMIT[..], &NO_SYNC_DELAY].concat(),
        };
        let server = RedisServer::start_with(&arguments).await;
        let standby = match data {
            RedisData::FailedOver => Some(Standby::of(server.addr()).await),
            RedisData::Kept | RedisData::Emptied => None,
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

    /// The URL for sandboxes, through the proxy.
    pub(super) fn url(&self) -> String {
        self.proxy.redis_url()
    }

    /// The URL of the current primary, with updates after each failover.
    pub(super) fn direct(&self) -> watch::Receiver<String> {
        self.direct.subscribe()
    }

    /// The current primary.
    pub(super) fn server(&self) -> &RedisServer {
        &self.server
    }

    /// How many events were ever put into the outbox.
    pub(super) async fn spilled(&self) -> i64 {
        let Ok(outbox) = try_redis_cmd(&self.server.url(), &["XINFO", "STREAM", "outbox:sqs"]).await else {
            return 0;
        };
        let mut fields = outbox.items().chunks_exact(2);
        let added = fields.find(|field| field[0].text().as_deref() == Some("entries-added"));
        added.and_then(|field| field[1].int()).unwrap_or(0)
    }

    /// A random time, ms.
    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.random.below(to - from))
    }

    /// Waits for a random time, ms.
    async fn sleep(&mut self, from: u64, to: u64) {
        let time = self.millis(from, to);
        tokio::time::sleep(time).await;
    }

    /// Sets a mode of the proxy for a random time, ms.
    async fn proxy_fault(&mut self, mode: ProxyMode, from: u64, to: u64) {
        self.proxy.set(mode);
        self.sleep(from, to).await;
        self.proxy.set(ProxyMode::Pass);
    }

    /// Kills the server and restarts it after a random time: with its append-only file, or empty.
    pub(super) async fn kill(&mut self) {
        let from = Instant::now();
        self.server.kill();
        self.sleep(0, 800).await;
        self.server.restart().await;
        self.counts.kills += 1;
        let has_file = self.folder.path().read_dir().is_ok_and(|mut files| files.next().is_some());
        if !has_file {
            self.lost(from, true);
        }
    }

    /// Cuts the replica off, and promotes it after more commits. The primary is killed. Every second time it becomes a
    /// replica instead and keeps its connections.
    pub(super) async fn fail_over(&mut self) {
        let Some(Standby { server: new_master, link }) = self.standby.take() else { return };
        let from = Instant::now().checked_sub(LAG).unwrap_or_else(Instant::now);
        link.set(ProxyMode::Stall);
        self.sleep(100, 700).await;
        let dies = self.counts.losses.is_multiple_of(2);
        if dies {
            self.server.kill();
        }
        // The commits that the link holds are lost.
        link.set(ProxyMode::Reset);
        new_master.cmd(&["REPLICAOF", "NO", "ONE"]).await;
        let old = std::mem::replace(&mut self.server, new_master);
        // As a replica, the old primary refuses writes, so nothing is published there without a subscriber.
        let demoted = if dies { None } else { Some(Standby::from(old, self.server.addr()).await) };
        self.proxy.retarget(self.server.addr());
        self.direct.send_replace(self.server.url());
        self.lost(from, false);
        if let Some(standby) = demoted {
            self.counts.demotions += 1;
            standby.server.caught_up().await;
            self.standby = Some(standby);
        } else {
            self.counts.kills += 1;
            self.standby = Some(Standby::of(self.server.addr()).await);
        }
    }

    /// Records a data loss that began at `from` and ends now.
    fn lost(&mut self, from: Instant, everything: bool) {
        self.counts.losses += 1;
        self.losses.push(DataLoss { from, to: Instant::now(), everything });
    }

    /// Stops the process for a random time. It executes the commands sent meanwhile afterwards, even if their client has
    /// given up.
    pub(super) async fn pause(&mut self) {
        self.server.pause();
        self.sleep(200, 3_000).await;
        self.server.resume();
        self.counts.pauses += 1;
    }

    /// Cuts one connection within a reply.
    pub(super) async fn cut(&mut self) {
        let before = self.proxy.cuts();
        let bytes = self.random.below(1_500);
        self.proxy.set(ProxyMode::CutOnce(bytes));
        let _ = within(CUT, || async { self.proxy.cuts() > before }).await;
        self.proxy.set(ProxyMode::Pass);
        self.counts.cuts += self.proxy.cuts() - before;
    }

    /// Resets all connections, and new ones for a short time.
    pub(super) async fn reset(&mut self) {
        self.proxy_fault(ProxyMode::Reset, 5, 200).await;
        self.counts.resets += 1;
    }

    /// Delays every packet for a while.
    pub(super) async fn delay(&mut self) {
        let late = self.millis(5, 150);
        self.proxy_fault(ProxyMode::Delay(late), 500, 1_500).await;
        self.counts.delays += 1;
    }

    /// For a short time, delays commands by seconds, so that they arrive after the client's retry.
    pub(super) async fn straggle(&mut self) {
        let late = self.millis(1_000, 3_000);
        self.proxy_fault(ProxyMode::Straggle(late), 100, 400).await;
        self.counts.stragglers += 1;
    }

    /// Flushes the scripts repeatedly, also between two commands of a pipeline.
    pub(super) async fn lose_scripts(&mut self) {
        for _ in 0..40 {
            self.server.cmd(&["SCRIPT", "FLUSH", "SYNC"]).await;
            self.sleep(1, 15).await;
        }
        self.counts.script_losses += 1;
    }

    /// Holds every packet for a while, then delivers them.
    pub(super) async fn stall(&mut self) {
        self.proxy_fault(ProxyMode::Stall, 300, 1_500).await;
        self.counts.stalls += 1;
    }
}
