//! A TCP proxy that fails on command.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// What the proxy does with the bytes of existing and of new connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyMode {
    /// Passes them on.
    #[default]
    Pass,
    /// Delays every chunk, in each direction.
    Delay(Duration),
    /// Holds them until the mode changes, like a network that delivers packets late.
    Stall,
    /// Delays requests on connections that are open now, even if the mode changes or the sender goes away meanwhile.
    /// New connections pass.
    Straggle(Duration),
    /// Resets every connection.
    Reset,
    /// Passes this many more bytes of replies on each connection, then closes it. With 0 a request arrives and its
    /// reply is lost.
    CutAfter(u64),
    /// Like [`ProxyMode::CutAfter`] for the first connection that reaches the limit; then everything passes.
    CutOnce(u64),
}

/// What has passed the proxy.
#[derive(Debug, Default)]
struct Counts {
    connections: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
    cuts: AtomicU64,
}

/// The mode and how often it has been set. Setting the same mode again restarts its byte count.
type ModeSwitch = watch::Sender<(ProxyMode, u64)>;

/// A proxy in front of one server. Stops on drop, with all its connections.
#[derive(Debug)]
pub struct FaultProxy {
    addr: SocketAddr,
    target: Arc<Mutex<SocketAddr>>,
    switch: Arc<ModeSwitch>,
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

impl FaultProxy {
    /// Starts in front of `target`. Passes everything at first.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port on loopback");
        let addr = listener.local_addr().expect("a bound address");
        let switch = Arc::new(ModeSwitch::new((ProxyMode::Pass, 0)));
        let counts = Arc::new(Counts::default());
        let target = Arc::new(Mutex::new(target));
        let shared = (Arc::clone(&switch), Arc::clone(&counts), Arc::clone(&target));
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (switch, counts, target) = shared.clone();
                counts.connections.fetch_add(1, Ordering::Relaxed);
                connections.spawn(async move { connection(client, &target, &switch, &counts).await });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { addr, target, switch, counts, task }
    }

    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `redis://127.0.0.1:port`
    pub fn redis_url(&self) -> String {
        format!("redis://{}", self.addr)
    }

    /// `http://127.0.0.1:port`
    pub fn http_url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Switches the mode of all connections at once.
    pub fn set(&self, mode: ProxyMode) {
        self.switch.send_modify(|(current, times_set)| {
            *current = mode;
            *times_set += 1;
        });
    }

    /// Leads new connections to another server, like a DNS name that moves at a failover. Open ones stay.
    pub fn retarget(&self, target: SocketAddr) {
        *self.target.lock().unwrap() = target;
    }

    /// The mode now.
    pub fn mode(&self) -> ProxyMode {
        self.switch.borrow().0
    }

    /// How many connections it has accepted.
    pub fn connections(&self) -> u64 {
        self.counts.connections.load(Ordering::Relaxed)
    }

    /// How many bytes it has passed to the server.
    pub fn bytes_sent(&self) -> u64 {
        self.counts.sent.load(Ordering::Relaxed)
    }

    /// How many bytes it has passed to clients.
    pub fn bytes_received(&self) -> u64 {
        self.counts.received.load(Ordering::Relaxed)
    }

    /// How many connections it has cut.
    pub fn cuts(&self) -> u64 {
        self.counts.cuts.load(Ordering::Relaxed)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Why a connection ends early.
enum End {
    Cut,
    Reset,
}

async fn connection(mut client: TcpStream, target: &Mutex<SocketAddr>, switch: &ModeSwitch, counts: &Counts) {
    let mut mode = switch.subscribe();
    let opened_at = mode.borrow().1;
    // While the proxy stalls, a new connection waits. It is refused if the mode changes to `Reset`.
    let refuse = mode
        .wait_for(|(mode, _)| *mode != ProxyMode::Stall)
        .await
        .is_ok_and(|state| state.0 == ProxyMode::Reset);
    let target = *target.lock().unwrap();
    let server = if refuse { None } else { TcpStream::connect(target).await.ok() };
    let Some(mut server) = server else {
        let _ = client.set_zero_linger();
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let end = {
        let (client_read, client_write) = client.split();
        let (server_read, server_write) = server.split();
        let up = pump(client_read, server_write, switch, &counts.sent, Direction::ToServer { opened_at });
        let down = pump(server_read, client_write, switch, &counts.received, Direction::ToClient);
        tokio::select! {
            ended = async { tokio::try_join!(up, down) } => ended.err(),
            _ = mode.wait_for(|(mode, _)| *mode == ProxyMode::Reset) => Some(End::Reset),
        }
    };
    match end {
        Some(End::Reset) => {
            let _ = (client.set_zero_linger(), server.set_zero_linger());
        }
        Some(End::Cut) => {
            counts.cuts.fetch_add(1, Ordering::Relaxed);
        }
        None => {}
    }
}

/// One direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    /// Requests. `opened_at` is how often the mode had been set when the connection was opened.
    ToServer { opened_at: u64 },
    /// Replies. Only these are cut.
    ToClient,
}

/// Copies one direction of a connection until it ends.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    switch: &ModeSwitch,
    count: &AtomicU64,
    direction: Direction,
) -> Result<(), End> {
    let mut mode = switch.subscribe();
    let mut buffer = vec![0; 64 * 1024];
    // The bytes passed since the mode was last set.
    let (mut times_set, mut passed) = (0, 0);
    loop {
        let read = from.read(&mut buffer).await.map_err(|_| End::Reset)?;
        if read == 0 {
            let _ = to.shutdown().await;
            return Ok(());
        }
        let now = wait_to_pass(&mut mode).await;
        if now.1 != times_set {
            (times_set, passed) = (now.1, 0);
        }
        if let (ProxyMode::Straggle(time), Direction::ToServer { opened_at }) = (now.0, direction)
            && opened_at < now.1
        {
            tokio::time::sleep(time).await;
        }
        let limit = match now.0 {
            ProxyMode::CutAfter(limit) | ProxyMode::CutOnce(limit) if direction == Direction::ToClient => {
                limit.saturating_sub(passed)
            }
            _ => u64::MAX,
        };
        let chunk = &buffer[..limit.min(read as u64) as usize];
        to.write_all(chunk).await.map_err(|_| End::Reset)?;
        count.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        passed += chunk.len() as u64;
        // The limit is reached: cut here. `CutOnce` also switches back, unless the mode was changed meanwhile.
        if chunk.len() < read {
            switch.send_if_modified(|state| {
                let once = *state == now && matches!(now.0, ProxyMode::CutOnce(_));
                if once {
                    *state = (ProxyMode::Pass, times_set + 1);
                }
                once
            });
            return Err(End::Cut);
        }
    }
}

/// Holds a chunk for as long as the mode requires. Returns the mode in which it passes.
async fn wait_to_pass(mode: &mut watch::Receiver<(ProxyMode, u64)>) -> (ProxyMode, u64) {
    loop {
        let now = *mode.borrow_and_update();
        match now.0 {
            ProxyMode::Stall | ProxyMode::Reset => {
                let _ = mode.changed().await;
            }
            ProxyMode::Delay(time) => {
                let changed = tokio::time::timeout(time, mode.changed()).await;
                if changed.is_err() {
                    return now;
                }
            }
            ProxyMode::Pass | ProxyMode::CutAfter(_) | ProxyMode::CutOnce(_) | ProxyMode::Straggle(_) => {
                return now;
            }
        }
    }
}
