//! Sends the messages and dead letters of a batch.

use std::collections::BTreeSet;

use events_core::delivery::{
    Dispatch, Message, MessageRef, OutboxAppend, Rejection, Undeliverable, encode_entries,
};

use crate::context::Context;
use crate::ports::{Queue, Store, Timer};
use crate::progress::BatchProgress;
use crate::settings::OutagePolicy;

/// Sends all messages, then all dead letters. Unsent messages go into the outbox, or their records fail: see
/// [`OutagePolicy`].
///
/// If `outbox_occupied`, older events wait in the outbox. No message is sent then, so that none overtakes them.
pub(crate) async fn send_batch<S: Store, Q: Queue, D: Queue, T: Timer>(
    context: &Context<S, Q, D, T>,
    batch: &mut BatchProgress<'_>,
    outbox_occupied: bool,
) {
    let messages: Vec<&[Message]> = batch.plan.iter().map(|record| record.messages.as_slice()).collect();
    let mut dispatch = Dispatch::new(messages.iter().copied().enumerate(), context.request_limits());
    if outbox_occupied {
        dispatch.abandon("older events wait in the outbox");
    }
    for (index, record) in batch.plan.iter().enumerate() {
        if !record.messages.is_empty() && context.may_put_aside(&context.messages_taken, batch.plan, index) {
            dispatch.allow_rejection(index);
        }
    }
    batch.tally.sqs_published += context.send(batch.deadline, &mut dispatch, &messages).await;
    match context.settings.outage {
        OutagePolicy::Spill => spill(dispatch.unsent(), context, batch),
        OutagePolicy::Block => batch.failures.extend(dispatch.failed().clone()),
    }
    // Messages that the queue will never accept become dead letters, whatever the policy.
    for rejection in dispatch.take_rejected() {
        let dead_letter = dead_letter(&rejection, context, batch);
        batch.rejected[rejection.entry.record].push(dead_letter);
    }
    send_dead_letters(context, batch).await;
}

/// Puts messages into the outbox: the commit of their record will append them.
fn spill<S, Q, D, T>(
    unsent: &BTreeSet<MessageRef>,
    context: &Context<S, Q, D, T>,
    batch: &mut BatchProgress<'_>,
) {
    let mut unsent = unsent.iter().peekable();
    while let Some(MessageRef { record: index, message }) = unsent.next().copied() {
        // The references are in order: those of one record follow each other.
        let record = &batch.plan[index];
        let mut messages = vec![&record.messages[message]];
        while let Some(next) = unsent.next_if(|next| next.record == index) {
            messages.push(&record.messages[next.message]);
        }
        if record.commit.is_some() {
            let (key, entries) = (context.settings.core.keys.outbox(), encode_entries(&messages));
            batch.outbox_appends[index] = Some(OutboxAppend { key, entries });
        } else {
            batch
                .failures
                .insert(index, "outbox: the record has no commit that could append its events".to_owned());
        }
    }
}

/// The dead letter of a message that the queue rejected. The event in it states the number of retries.
fn dead_letter<S, Q, D, T: Timer>(
    rejection: &Rejection,
    context: &Context<S, Q, D, T>,
    batch: &BatchProgress<'_>,
) -> Message {
    let record = &batch.plan[rejection.entry.record];
    let message = &record.messages[rejection.entry.message];
    // The deduplication id of an event's message is the event's id.
    let event = record.events.iter().find(|event| event.event_id == message.dedup_id).cloned();
    let with_retries = event.and_then(|mut event| {
        event.metadata.retry_count = rejection.retries;
        event.to_json().ok()
    });
    let event = Undeliverable::Event(with_retries.as_deref().unwrap_or(&message.body));
    let group = Some(message.group_id.clone());
    context.dead_letters().write(event, &message.dedup_id, group, &rejection.reason, "queue")
}

/// Sends the dead letters of the plan and of rejected messages. A record fails if one of its dead letters cannot be sent.
async fn send_dead_letters<S, Q, D: Queue, T: Timer>(
    context: &Context<S, Q, D, T>,
    batch: &mut BatchProgress<'_>,
) {
    let records = batch.plan.iter().zip(&batch.rejected).enumerate();
    let dead_letters = records.flat_map(|(index, (record, rejected))| {
        record.dead_letters.iter().chain(rejected).map(move |dead_letter| (index, dead_letter))
    });
    let dead_letters: Vec<(usize, &Message)> = dead_letters.collect();
    let sender = context.sender(batch.deadline);
    let (accepted, failed) =
        sender.send_dead_letters(&context.dead_letter_queue, &dead_letters, context.request_limits()).await;
    batch.tally.dlq_published += accepted;
    batch.failures.extend(failed);
}
