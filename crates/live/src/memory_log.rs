//! The log of all events, in memory.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use events_adapters::time::SystemTimer;
use events_core::delivery::{Cut, LogEntry, LogPage, Position};
use events_gateway::source::EventSource;
use events_processor::Processor;
use events_processor::memory::{MemoryQueue, MemoryStore};
use events_processor::ports::{PortError, Timer};
use tokio::sync::Notify;

/// A processor without servers.
pub(crate) type MemoryProcessor = Processor<MemoryStore, MemoryQueue, MemoryQueue, SystemTimer>;

/// Longest wait for an entry.
const WAIT: Duration = Duration::from_millis(500);

/// What a processor in memory has published.
pub(crate) struct MemoryLog {
    processor: Rc<MemoryProcessor>,
    /// The entries with their positions, oldest first.
    entries: RefCell<Vec<LogEntry>>,
    /// Number of the last entry that was taken from the store.
    taken: Cell<u64>,
    limit: usize,
    grown: Notify,
}

impl MemoryLog {
    /// The log of a processor, of at most `limit` entries.
    pub(crate) fn new(processor: Rc<MemoryProcessor>, limit: usize) -> Self {
        let (entries, taken, grown) = (RefCell::default(), Cell::new(0), Notify::new());
        Self { processor, entries, taken, limit, grown }
    }

    /// Says that the processor has committed something.
    pub(crate) fn committed(&self) {
        self.catch_up();
        self.grown.notify_waiters();
    }

    /// Gives the new events of the store their positions.
    fn catch_up(&self) {
        let mut entries = self.entries.borrow_mut();
        let now = u64::try_from(self.processor.timer().now_ms()).unwrap_or(0);
        for (number, event) in self.processor.store().log_after(self.taken.get()) {
            self.taken.set(number);
            // A clock that was set back must not make positions smaller.
            let ms = entries.last().map_or(now, |last| last.position.ms.max(now));
            entries.push(LogEntry { position: Position { ms, number }, event: event.to_string() });
        }
        let surplus = entries.len().saturating_sub(self.limit);
        // A part at a time: each removal moves all that stay.
        if surplus > self.limit / 4 {
            entries.drain(..surplus);
        }
    }

    fn newest(&self) -> Position {
        self.entries.borrow().last().map_or(Position::START, |last| last.position)
    }
}

impl EventSource for MemoryLog {
    async fn wait(&self, after: Position) -> Result<(), PortError> {
        let mut grown = std::pin::pin!(self.grown.notified());
        grown.as_mut().enable();
        if self.newest() <= after {
            // The time being up is as good as an entry.
            let _in_time = tokio::time::timeout(WAIT, grown).await;
        }
        Ok(())
    }

    async fn page(&self, after: Position, limit: usize) -> Result<LogPage, PortError> {
        self.catch_up();
        let entries = self.entries.borrow();
        let first = entries.partition_point(|entry| entry.position <= after);
        Ok(LogPage {
            oldest: entries.first().map(|entry| entry.position),
            newest: self.newest(),
            has_after: entries.binary_search_by_key(&after, |entry| entry.position).is_ok(),
            trimmed: self.taken.get() > entries.len() as u64,
            entries: entries[first..].iter().take(limit).cloned().collect(),
        })
    }

    async fn cut(&self, keys: &[String]) -> Result<Cut, PortError> {
        self.catch_up();
        let values = keys.iter().map(|key| self.processor.store().value(key)).collect();
        Ok(Cut { values, position: self.newest() })
    }
}
