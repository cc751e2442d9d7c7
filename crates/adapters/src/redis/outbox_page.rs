//! Reads the outbox page by page.

use std::hash::{BuildHasher, RandomState};

use events_core::delivery::OutboxEntry;
use events_processor::ports::{ErrorKind, OutboxPage, OutboxRequest, PortError};
use fred::interfaces::ClientLike;
use fred::types::{CustomCommand, Value};
use fred::util::redis_keyslot;

use super::connection::Connection;
use super::values::{count, text};

/// Sent as text each time: it runs rarely, and the server's script cache may be empty.
const SCRIPT: &str = include_str!("outbox_page.lua");

/// A name that identifies this process as a holder of the lease: 128 random bits.
pub(super) fn holder_name() -> String {
    format!("{:016x}{:016x}", RandomState::new().hash_one(0), RandomState::new().hash_one(1))
}

/// Makes one request.
pub(super) async fn read_page(
    connection: &Connection,
    request: &OutboxRequest,
    holder: &str,
) -> Result<OutboxPage, PortError> {
    let command = CustomCommand::new_static("EVAL", redis_keyslot(request.outbox.as_bytes()), false);
    let mut arguments = vec![text(SCRIPT), count(2), text(&request.outbox), text(&request.lease)];
    arguments.extend([text(holder), text(&request.pass.to_string())]);
    arguments.extend([text(&request.lease_ms.to_string()), count(request.limit)]);
    arguments.push(text(request.after.as_deref().unwrap_or_default()));
    arguments.extend(request.done.iter().map(|id| text(id)));
    let answer = connection.call(connection.client().custom::<Value, _>(command, arguments)).await?;
    let unexpected =
        || PortError::new(ErrorKind::Refused, "redis: the outbox script returned an unexpected value");
    page(answer).ok_or_else(unexpected)
}

fn page(answer: Value) -> Option<OutboxPage> {
    let mut values = answer.into_array().into_iter();
    let waiting = values.next()?.as_u64()?;
    let is_held = values.next()?.as_u64()? == 1;
    let mut entries = Vec::new();
    while let Some(id) = values.next() {
        entries.push(OutboxEntry { id: id.into_string()?, message: lossy_text(values.next()?) });
    }
    Some(OutboxPage { waiting, entries: is_held.then_some(entries) })
}

/// The text of a value. Bytes that are not UTF-8, which this processor never writes, become replacement characters.
fn lossy_text(value: Value) -> String {
    match value {
        Value::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        value => value.into_string().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_processes_hold_a_lease_under_one_name() {
        assert_ne!(holder_name(), holder_name());
    }

    #[test]
    fn an_unexpected_answer_is_none() {
        for answer in
            [Value::Null, Value::Array(vec![1.into()]), Value::Array(vec![1.into(), 1.into(), "1-0".into()])]
        {
            assert_eq!(page(answer), None);
        }
        let held = page(Value::Array(vec![3.into(), 0.into()]));
        assert_eq!(held, Some(OutboxPage { waiting: 3, entries: None }));
    }
}
