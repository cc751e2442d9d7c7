//! Reads of hot keys. All that wait while a read is under way share the next one, so a storm of clients makes few reads.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use events_core::delivery::{Cut, Position};
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{Mutex, oneshot};

use crate::source::EventSource;

/// Most keys of one read.
const MOST_KEYS: usize = 1_000;

#[derive(Debug)]
struct Waiting {
    keys: Vec<String>,
    answer: oneshot::Sender<Option<Cut>>,
}

/// Reads hot keys, a few clients' at a time.
#[derive(Debug)]
pub struct Snapshots<S> {
    source: Rc<S>,
    waiting: RefCell<VecDeque<Waiting>>,
    /// Held during a read.
    turn: Mutex<()>,
}

impl<S> Snapshots<S> {
    /// Reads from a source.
    pub fn new(source: Rc<S>) -> Self {
        Self { source, waiting: RefCell::default(), turn: Mutex::new(()) }
    }
}

impl<S: EventSource> Snapshots<S> {
    /// The values of keys as of one position of the log. `None` if they cannot be read.
    pub async fn read(&self, keys: Vec<String>) -> Option<Cut> {
        let wait = || {
            let (answer, answered) = oneshot::channel();
            self.waiting.borrow_mut().push_back(Waiting { keys: keys.clone(), answer });
            answered
        };
        let mut answered = wait();
        let _turn = self.turn.lock().await;
        // Someone before in the line may have read for this one, too.
        loop {
            match answered.try_recv() {
                Ok(cut) => return cut,
                // The one that was reading for it is gone, because its client is.
                Err(TryRecvError::Closed) => answered = wait(),
                Err(TryRecvError::Empty) => self.read_waiting().await,
            }
        }
    }

    async fn read_waiting(&self) {
        let (mut some, mut keys) = (Vec::new(), Vec::new());
        {
            let mut waiting = self.waiting.borrow_mut();
            let fits = |keys: &Vec<String>, next: &Waiting| {
                keys.is_empty() || keys.len() + next.keys.len() <= MOST_KEYS
            };
            while let Some(next) = waiting.pop_front_if(|next| fits(&keys, next)) {
                keys.extend(next.keys.iter().cloned());
                some.push(next);
            }
        }
        keys.sort_unstable();
        keys.dedup();
        let cut = match self.source.cut(&keys).await {
            Ok(cut) => Some(cut),
            Err(error) => {
                tracing::warn!(%error, "hot keys cannot be read; snapshots are incomplete");
                None
            }
        };
        let position = cut.as_ref().map_or(Position::START, |cut| cut.position);
        let values: HashMap<&String, Option<String>> =
            cut.as_ref().map(|cut| keys.iter().zip(cut.values.iter().cloned()).collect()).unwrap_or_default();
        for Waiting { keys, answer } in some {
            let of_keys = |key: &String| values.get(key).cloned().flatten();
            let own = cut.as_ref().map(|_| Cut { values: keys.iter().map(of_keys).collect(), position });
            // The client may be gone.
            let _gone = answer.send(own);
        }
    }
}
