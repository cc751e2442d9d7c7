//! How the outbox is gone through.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use events_core::outbox::Entry;
use events_processor::ports::{Drained, ErrorKind, PortError, Step};
use fred::clients::Client;
use fred::interfaces::ClientLike;
use fred::types::{CustomCommand, Value};
use fred::util::redis_keyslot;

use super::errors;
use super::script::{count, text};

/// Sent whole each time: it runs rarely, and so there is no script to be missing.
const SCRIPT: &str = include_str!("drain.lua");

/// A name for this process that no other has: two hashes with keys from the system's randomness.
pub(super) fn holder() -> String {
    format!("{:016x}{:016x}", RandomState::new().hash_one(0), RandomState::new().hash_one(1))
}

/// One step, bounded in time.
pub(super) async fn step(
    client: &Client,
    step: &Step,
    holder: &str,
    bound: Duration,
) -> Result<Drained, PortError> {
    let command = CustomCommand::new_static("EVAL", redis_keyslot(step.outbox.as_bytes()), false);
    let mut arguments = vec![text(SCRIPT), count(2), text(&step.outbox), text(&step.lease)];
    arguments.extend([text(holder), text(&step.lease_ms.to_string()), count(step.limit)]);
    arguments.push(text(step.after.as_deref().unwrap_or_default()));
    arguments.extend(step.done.iter().map(|id| text(id)));
    match tokio::time::timeout(bound, client.custom::<Value, _>(command, arguments)).await {
        Ok(Ok(answer)) => drained(answer)
            .ok_or_else(|| PortError::new(ErrorKind::Refused, "the outbox script gave an odd answer")),
        Ok(Err(error)) => Err(errors::port_error(&error)),
        Err(_) => Err(PortError::new(ErrorKind::Timeout, "redis gave no answer in time")),
    }
}

fn drained(answer: Value) -> Option<Drained> {
    let mut parts = answer.into_array().into_iter();
    let waiting = parts.next()?.as_u64()?;
    let is_held = parts.next()?.as_u64()? == 1;
    let mut entries = Vec::new();
    while let Some(id) = parts.next() {
        entries.push(Entry { id: id.into_string()?, message: legible(parts.next()?) });
    }
    Some(Drained { waiting, entries: is_held.then_some(entries) })
}

/// A text as it is; of what is none (nobody of us wrote it), as much as can be read.
fn legible(value: Value) -> String {
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
        assert_ne!(holder(), holder());
    }

    #[test]
    fn an_odd_answer_is_none() {
        for answer in
            [Value::Null, Value::Array(vec![1.into()]), Value::Array(vec![1.into(), 1.into(), "1-0".into()])]
        {
            assert_eq!(drained(answer), None);
        }
        let held = drained(Value::Array(vec![3.into(), 0.into()]));
        assert_eq!(held, Some(Drained { waiting: 3, entries: None }));
    }
}
