//! A TCP proxy that fails on command.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// What happens to the bytes, on existing and on new connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// They pass.
    #[default]
    Pass,
    /// Every chunk waits first, in each direction.
    Delay(Duration),
    /// They are held until the mode changes: the network has swallowed them and will deliver them late.
    Hole,
    /// What is sent on connections that are there now arrives so much later, whatever the mode is then and whether or
    /// not its sender still lives. New connections pass.
    Straggle(Duration),
    /// Every connection is reset.
    Reset,
    /// A connection passes this many more bytes of replies, then closes. With 0 a request arrives and its reply
    /// is lost.
    CutAfter(u64),
    /// As [`Mode::CutAfter`] for the first connection that gets there; everything passes from then on.
    CutOnce(u64),
}

/// What the proxy has seen.
#[derive(Debug, Default)]
struct Counts {
    connections: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
    cuts: AtomicU64,
}

/// The mode and how often it has been set, so that setting the same again starts its count anew.
type Switch = watch::Sender<(Mode, u64)>;

/// A proxy in front of one server. Ends on drop, with all its connections.
#[derive(Debug)]
pub struct FaultProxy {
    addr: SocketAddr,
    target: Arc<Mutex<SocketAddr>>,
    switch: Arc<Switch>,
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

impl FaultProxy {
    /// Starts in front of `target`, passing everything.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port on loopback");
        let addr = listener.local_addr().expect("a bound address");
        let switch = Arc::new(Switch::new((Mode::Pass, 0)));
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

    /// Switches the mode, at once and for every connection.
    pub fn set(&self, mode: Mode) {
        self.switch.send_modify(|(current, turn)| {
            *current = mode;
            *turn += 1;
        });
    }

    /// New connections go to another server, as behind a name that moves at a failover. Those there are stay.
    pub fn retarget(&self, target: SocketAddr) {
        *self.target.lock().unwrap() = target;
    }

    /// The mode now.
    pub fn mode(&self) -> Mode {
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

async fn connection(mut client: TcpStream, target: &Mutex<SocketAddr>, switch: &Switch, counts: &Counts) {
    let mut mode = switch.subscribe();
    let born = mode.borrow().1;
    let refuse =
        mode.wait_for(|(mode, _)| *mode != Mode::Hole).await.is_ok_and(|state| state.0 == Mode::Reset);
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
        let up = pump(client_read, server_write, switch, &counts.sent, Way::Up { born });
        let down = pump(server_read, client_write, switch, &counts.received, Way::Down);
        tokio::select! {
            ended = async { tokio::try_join!(up, down) } => ended.err(),
            _ = mode.wait_for(|(mode, _)| *mode == Mode::Reset) => Some(End::Reset),
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
enum Way {
    /// Requests, of a connection that was made when the mode had been set so often.
    Up { born: u64 },
    /// Replies: cuts apply to them.
    Down,
}

/// Copies one direction until its end.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    switch: &Switch,
    count: &AtomicU64,
    way: Way,
) -> Result<(), End> {
    let mut mode = switch.subscribe();
    let mut buffer = vec![0; 64 * 1024];
    let (mut turn, mut passed) = (0, 0);
    loop {
        let read = from.read(&mut buffer).await.map_err(|_| End::Reset)?;
        if read == 0 {
            let _ = to.shutdown().await;
            return Ok(());
        }
        let now = gate(&mut mode).await;
        if now.1 != turn {
            (turn, passed) = (now.1, 0);
        }
        if let (Mode::Straggle(time), Way::Up { born }) = (now.0, way)
            && born < now.1
        {
            tokio::time::sleep(time).await;
        }
        let limit = match now.0 {
            Mode::CutAfter(limit) | Mode::CutOnce(limit) if way == Way::Down => limit.saturating_sub(passed),
            _ => u64::MAX,
        };
        let chunk = &buffer[..limit.min(read as u64) as usize];
        to.write_all(chunk).await.map_err(|_| End::Reset)?;
        count.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        passed += chunk.len() as u64;
        if chunk.len() < read {
            switch.send_if_modified(|state| {
                let once = *state == now && matches!(now.0, Mode::CutOnce(_));
                if once {
                    *state = (Mode::Pass, turn + 1);
                }
                once
            });
            return Err(End::Cut);
        }
    }
}

/// Holds a chunk for as long as the mode says; returns the mode that lets it pass.
async fn gate(mode: &mut watch::Receiver<(Mode, u64)>) -> (Mode, u64) {
    loop {
        let now = *mode.borrow_and_update();
        match now.0 {
            Mode::Hole | Mode::Reset => {
                let _ = mode.changed().await;
            }
            Mode::Delay(time) => {
                let changed = tokio::time::timeout(time, mode.changed()).await;
                if changed.is_err() {
                    return now;
                }
            }
            Mode::Pass | Mode::CutAfter(_) | Mode::CutOnce(_) | Mode::Straggle(_) => return now,
        }
    }
}
