//! The clock, the gateways, and what fails.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use events_gateway::{Gateway, ServeSettings, follow};
use tokio::task::{JoinHandle, LocalSet};

use super::client::client;
use super::server::Server;
use crate::many::Outcome;
use crate::rng::Rng;
use crate::sim::Violation;

/// How long faults happen, ms.
const TROUBLE_MS: u64 = 6_000;
/// How long the world then has to settle, ms: longer than any time limit.
const PEACE_MS: u64 = 30_000;
const GATEWAYS: usize = 2;
const CLIENTS: u64 = 4;

/// All that the parts share.
#[derive(Debug)]
pub(super) struct World {
    rng: RefCell<Rng>,
    pub(super) server: Rc<Server>,
    pub(super) gateways: RefCell<Vec<Rc<Gateway<Server>>>>,
    /// False once nothing fails any more.
    pub(super) trouble: Cell<bool>,
    counts: RefCell<BTreeMap<&'static str, u64>>,
    violation: RefCell<Option<Violation>>,
}

impl World {
    pub(super) fn below(&self, end: u64) -> u64 {
        self.rng.borrow_mut().below(end)
    }

    pub(super) fn permille(&self, share: u64) -> bool {
        self.rng.borrow_mut().permille(share)
    }

    pub(super) fn count(&self, what: &'static str, times: u64) {
        *self.counts.borrow_mut().entry(what).or_default() += times;
    }

    pub(super) fn check(&self, invariant: &'static str, holds: bool, detail: impl FnOnce() -> String) {
        if !holds {
            self.violation.borrow_mut().get_or_insert_with(|| Violation { invariant, detail: detail() });
        }
    }

    pub(super) fn is_broken(&self) -> bool {
        self.violation.borrow().is_some()
    }
}

pub(super) async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

/// Runs a seed.
pub fn run(seed: u64) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    match runtime {
        Ok(runtime) => LocalSet::new().block_on(&runtime, work(seed)),
        Err(error) => Outcome::broken("the runtime starts", error.to_string()),
    }
}

async fn work(seed: u64) -> Outcome {
    let mut rng = Rng::new(seed, 1);
    let is_slow = rng.permille(300);
    let world = Rc::new(World {
        rng: RefCell::new(rng),
        server: Rc::new(Server::new(Rng::new(seed, 2), is_slow)),
        gateways: RefCell::default(),
        trouble: Cell::new(true),
        counts: RefCell::default(),
        violation: RefCell::default(),
    });
    let mut followers: Vec<JoinHandle<()>> = (0..GATEWAYS).map(|_| start_gateway(&world, None)).collect();
    let start_client = |number| tokio::task::spawn_local(client(Rc::clone(&world), number));
    let clients: Vec<JoinHandle<()>> = (0..CLIENTS).map(start_client).collect();
    let mut elapsed = 0;
    while elapsed < TROUBLE_MS && !world.is_broken() {
        let step = 1 + world.below(40);
        pause(step).await;
        elapsed += step;
        happen(&world, &mut followers);
    }
    world.trouble.set(false);
    world.server.heal();
    pause(PEACE_MS).await;
    for client in clients {
        let ended = client.is_finished() && client.await.is_ok();
        world.check("every client comes to an end", ended, || {
            "a client waits for ever, or broke down".to_owned()
        });
    }
    followers.iter().for_each(JoinHandle::abort);
    world.count("call failed", world.server.failed_calls.get());
    let (violation, counts) = (world.violation.take(), world.counts.take());
    // Gateways refer to the server, and the tasks to both.
    world.gateways.take();
    Outcome { violation, counts }
}

/// Lets something happen, or nothing.
fn happen(world: &Rc<World>, followers: &mut [JoinHandle<()>]) {
    let server = &world.server;
    match world.below(1_000) {
        0..600 => {
            for _ in 0..=world.below(3) {
                server.commit();
            }
        }
        600..640 => server.fail_for(1 + world.below(400)),
        640..660 => server.trim(world.below(20)),
        660..666 => {
            world.count("end of the log lost", 1);
            server.lose_last(1 + world.below(4));
        }
        666..667 => server.flush(),
        // More than may wait for a client.
        667..668 => (0..1_500).for_each(|_| server.commit()),
        668..680 => {
            let which = world.below(GATEWAYS as u64) as usize;
            followers[which].abort();
            followers[which] = start_gateway(world, Some(which));
            world.count("gateway replaced", 1);
        }
        _ => {}
    }
}

fn start_gateway(world: &Rc<World>, place: Option<usize>) -> JoinHandle<()> {
    // Some gateways remember little.
    let events = if world.permille(300) { 10 } else { 1_000 };
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
