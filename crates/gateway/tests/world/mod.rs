//! The simulated world: a server, gateways, clients, and what fails.

mod client;
mod server;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use events_gateway::{Gateway, ServeSettings, follow};
use tokio::task::{JoinHandle, LocalSet};

use client::client;
use server::Server;

/// How long faults happen, ms.
const TROUBLE_MS: u64 = 6_000;
/// How long the world then has to settle, ms: longer than any time limit.
const PEACE_MS: u64 = 30_000;
const GATEWAYS: usize = 2;
const CLIENTS: usize = 4;

/// What happened in a run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) events: u64,
    pub(crate) snapshots: u64,
    pub(crate) values: u64,
    pub(crate) resumed: u64,
    pub(crate) gaps: u64,
    pub(crate) failed_calls: u64,
    pub(crate) restarts: u64,
    pub(crate) losses: u64,
    pub(crate) dropped: u64,
}

impl Seen {
    pub(crate) fn all(&self) -> [(&'static str, u64); 9] {
        [
            ("an event", self.events),
            ("a snapshot", self.snapshots),
            ("a value of a snapshot", self.values),
            ("a resumption", self.resumed),
            ("a gap", self.gaps),
            ("a failed call", self.failed_calls),
            ("a restart of a gateway", self.restarts),
            ("a loss of the log's end", self.losses),
            ("a dropped event", self.dropped),
        ]
    }

    pub(crate) fn add(&mut self, other: Self) {
        let Self { events, snapshots, values, resumed, gaps, failed_calls, restarts, losses, dropped } =
            other;
        self.events += events;
        self.snapshots += snapshots;
        self.values += values;
        self.resumed += resumed;
        self.gaps += gaps;
        self.failed_calls += failed_calls;
        self.restarts += restarts;
        self.losses += losses;
        self.dropped += dropped;
    }
}

/// SplitMix64.
#[derive(Debug)]
pub(crate) struct Random(Cell<u64>);

impl Random {
    fn new(seed: u64) -> Self {
        Self(Cell::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d)))
    }

    /// A number below `limit`.
    fn below(&self, limit: u64) -> u64 {
        self.0.set(self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        let mixed = (self.0.get() ^ (self.0.get() >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    /// True so many times in a thousand.
    fn permille(&self, permille: u64) -> bool {
        self.below(1_000) < permille
    }
}

/// All that the parts share.
#[derive(Debug)]
pub(crate) struct World {
    seed: u64,
    random: Random,
    server: Rc<Server>,
    gateways: RefCell<Vec<Rc<Gateway<Server>>>>,
    trouble: Cell<bool>,
    seen: RefCell<Seen>,
}

impl World {
    fn seen(&self, count: impl Fn(&mut Seen)) {
        count(&mut self.seen.borrow_mut());
    }
}

thread_local! {
    static VIOLATION: RefCell<Option<(&'static str, String)>> = const { RefCell::new(None) };
}

/// An invariant does not hold: the run ends.
fn violated(invariant: &'static str, what: &str) -> ! {
    VIOLATION.with_borrow_mut(|first| first.get_or_insert((invariant, what.to_owned())).clone());
    panic!("{invariant}: {what}");
}

/// The first invariant that did not hold on this thread, and how.
pub(crate) fn violation() -> Option<(&'static str, String)> {
    VIOLATION.take()
}

async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

/// Runs a seed to its end.
pub(crate) fn run(seed: u64) -> Seen {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let random = Random::new(seed);
        let server = Rc::new(Server::new(Random::new(seed ^ 1), random.permille(300)));
        let world = Rc::new(World {
            seed,
            random,
            server,
            gateways: RefCell::default(),
            trouble: Cell::new(true),
            seen: RefCell::default(),
        });
        let mut followers: Vec<JoinHandle<()>> = (0..GATEWAYS).map(|_| start_gateway(&world, None)).collect();
        let clients: Vec<JoinHandle<()>> = (0..CLIENTS)
            .map(|number| tokio::task::spawn_local(client(Rc::clone(&world), number as u64)))
            .collect();
        let mut elapsed = 0;
        while elapsed < TROUBLE_MS {
            let step = 1 + world.random.below(40);
            pause(step).await;
            elapsed += step;
            happen(&world, &mut followers);
        }
        world.trouble.set(false);
        world.server.heal();
        pause(PEACE_MS).await;
        for client in clients {
            assert!(client.is_finished(), "seed {seed}: a client waits for ever");
            client.await.unwrap();
        }
        for follower in followers {
            follower.abort();
        }
        world.seen(|seen| seen.failed_calls += world.server.failed_calls.get());
        *world.seen.borrow()
    })
}

/// Lets something happen, or nothing.
fn happen(world: &Rc<World>, followers: &mut [JoinHandle<()>]) {
    let World { random, server, .. } = &**world;
    match random.below(1_000) {
        0..600 => {
            for _ in 0..=random.below(3) {
                server.commit();
            }
        }
        600..640 => server.fail_for(1 + random.below(400)),
        640..660 => server.trim(random.below(20)),
        660..666 => {
            world.seen(|seen| seen.losses += 1);
            server.lose_last(1 + random.below(4));
        }
        666..667 => server.flush(),
        // More than may wait for a client.
        667..668 => (0..1_500).for_each(|_| server.commit()),
        668..680 => {
            let which = random.below(GATEWAYS as u64) as usize;
            followers[which].abort();
            followers[which] = start_gateway(world, Some(which));
            world.seen(|seen| seen.restarts += 1);
        }
        _ => {}
    }
}

fn start_gateway(world: &Rc<World>, place: Option<usize>) -> JoinHandle<()> {
    // Some gateways remember little.
    let events = if world.random.permille(300) { 10 } else { 1_000 };
    let server = Rc::clone(&world.server);
    let gateway = Rc::new(Gateway::new(Rc::clone(&server), events, ServeSettings::default()));
    let mut gateways = world.gateways.borrow_mut();
    match place {
        Some(place) => {
            // Its clients are cut off.
            gateways[place].stopping.send_replace(true);
            gateways[place] = Rc::clone(&gateway);
        }
        None => gateways.push(Rc::clone(&gateway)),
    }
    tokio::task::spawn_local(async move { match follow(&gateway, &*server).await {} })
}
