//! What must hold: at each send, at each message, when the outbox is emptied, and at the end.

use events_core::delivery::{Message, SendResult};

use super::database::{id, lane};
use super::scenario::OutageKind;
use super::world::World;

impl World {
    /// A relay begins to send: it must hold the lanes of the messages.
    pub(super) fn sends(&self, messages: &[Message]) {
        let tasks = self.tasks.borrow();
        let Some(task) = tasks.get(&self.current()) else { return };
        if task.was_frozen {
            return;
        }
        for message in messages {
            let Some(key) = self.key_of(message) else { continue };
            let database = self.database.borrow();
            if let Some(holder) = database.holder(lane(key))
                && holder != task.id
            {
                drop(database);
                return self.violate(
                    "a lane has one relay",
                    format!(
                        "{} sends of {}, which {} holds",
                        task.id,
                        id(key),
                        self.database.borrow().holder(lane(key)).unwrap_or_default()
                    ),
                );
            }
        }
    }

    fn key_of(&self, message: &Message) -> Option<usize> {
        (0..self.keys).find(|key| message.group_id == format!("token:{}", id(*key)))
    }

    /// The queue gets a message.
    pub(super) fn take_message(&self, message: &Message) -> SendResult {
        let Some(key) = self.key_of(message) else {
            self.violate("order in the queue", format!("an unknown group: {message:?}"));
            return SendResult::Accepted;
        };
        if self.has_outage(OutageKind::Key(key)) {
            self.count("message of a key refused");
            return SendResult::Refused("InternalError".into());
        }
        if !self.seen.borrow_mut().insert(message.dedup_id.clone()) {
            self.count("message sent again");
            return SendResult::Accepted;
        }
        self.count("message");
        let body: serde_json::Value = serde_json::from_str(&message.body).unwrap_or_default();
        let value = body["data"]["currentPrice"].as_f64().unwrap_or_default() as i64;
        let last = std::mem::replace(&mut self.taken.borrow_mut()[key], value);
        if value != last + 1 {
            self.violate("order in the queue", format!("{} has {value} after {last}", id(key)));
        }
        SendResult::Accepted
    }

    /// The outbox is emptied: what goes must have been delivered, or be set aside.
    pub(super) fn rotate(&self) {
        let gone = self.database().rotate();
        for change in gone {
            let key = (0..self.keys).find(|key| id(*key) == change.entry.id).unwrap_or_default();
            let delivered = self.taken.borrow()[key] >= change.entry.version;
            if !delivered && !self.database().is_aside(&change) {
                self.violate(
                    "nothing is lost",
                    format!(
                        "version {} of {} is truncated and was not delivered",
                        change.entry.version,
                        id(key)
                    ),
                );
            }
        }
    }

    pub(super) fn check_end(&self) {
        let database = self.database.borrow();
        if database.aside_count() > 0 {
            self.violate(
                "what is set aside is delivered",
                format!("{} changes are left", database.aside_count()),
            );
        }
        for key in 0..self.keys {
            let (last, taken) = (database.last(key), self.taken.borrow()[key]);
            if last != taken {
                self.violate("nothing is lost", format!("{} is at {last}, the queue at {taken}", id(key)));
            }
            // On the channel of the token, each value once and in order.
            let channel = format!("events:token:{}", id(key));
            let published = self.store.published();
            let published = published.iter().filter(|(name, _)| *name == channel).map(|(_, payload)| {
                let event: serde_json::Value = serde_json::from_str(payload).unwrap_or_default();
                event["data"]["currentPrice"].as_f64().unwrap_or_default() as i64
            });
            if !published.eq(2..=last) {
                self.violate("order on the channels", format!("{channel} is not 2 to {last}"));
            }
        }
    }
}
