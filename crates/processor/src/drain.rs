//! Drains the outbox, where events wait in Redis while SQS is down.
//!
//! The commit of a row appends the row's events. While the outbox is not empty, a batch appends its events instead of
//! sending them, so no event overtakes an older one. Sending from the oldest entry on therefore keeps the order. It
//! does so even if two processes believe that they hold the lease: an event is sent only when the queue has all earlier
//! events of its group.

use std::collections::HashSet;
use std::time::Duration;

use events_core::delivery::{
    Dispatch, Message, OutboxEntry, Rejection, RequestLimits, Undeliverable, WaitingMessage, decode_entry,
};

use crate::context::Context;
use crate::deadline::Deadline;
use crate::guarded;
use crate::outcome::DrainOutcome;
use crate::ports::{OutboxPage, OutboxRequest, Queue, Store, Timer};

/// Most entries in a page.
const PAGE_ENTRIES: usize = 200;
/// How long requests of one page may begin. The lease lasts for one page.
const PAGE_TIME: Duration = Duration::from_secs(5);
/// How much longer the lease lasts than its holder sends, because reading the page takes time too.
const LEASE_SLACK: Duration = Duration::from_secs(3);
/// How long requests may begin while a batch drains the outbox. Requests in flight may take as long again. The next
/// batch of the shard waits meanwhile, so this is short.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// Drains until the outbox is empty or the time is up. For an invocation without records.
pub(crate) async fn drain_outbox<S: Store, Q: Queue, D: Queue, T: Timer>(
    context: &Context<S, Q, D, T>,
    deadline: Deadline,
) -> DrainOutcome {
    let mut outcome = drain(context, deadline).await;
    if outcome.waiting.is_none() && outcome.problem.is_none() {
        // Nothing was tried. Read the number of waiting events, because the outcome reports it.
        match read_page(context, &first_page(context, 0), deadline).await {
            Ok(OutboxPage { waiting, .. }) => outcome.waiting = Some(waiting),
            Err(problem) => outcome.problem = Some(problem),
        }
        let reason = match context.circuits.queue.check(context.timer.now_ms()) {
            Err(_) => "sqs failed too often: the outbox is drained again later",
            Ok(()) => "the time to drain the outbox was over: it is drained again later",
        };
        outcome.problem.get_or_insert_with(|| reason.to_owned());
    }
    outcome
}

/// Drains for a short time, as part of a batch.
pub(crate) async fn drain_for_a_while<S: Store, Q: Queue, D: Queue, T: Timer>(
    context: &Context<S, Q, D, T>,
    deadline: Deadline,
) -> DrainOutcome {
    let outcome = drain(context, deadline.limited_to(context.timer.monotonic(), DRAIN_TIME)).await;
    context.outbox_depth.set(outcome.waiting.unwrap_or(context.outbox_depth.get()));
    outcome
}

/// Makes passes over the outbox, each from the oldest entry on, while they make progress. An entry that the queue
/// refuses is retried in the next pass, so that it does not delay the entries behind it.
async fn drain<S: Store, Q: Queue, D: Queue, T: Timer>(
    context: &Context<S, Q, D, T>,
    deadline: Deadline,
) -> DrainOutcome {
    let mut outcome = DrainOutcome::default();
    for _ in 0..=context.settings.max_retries {
        let before = (outcome.sent, outcome.dead_letters);
        let last_problem = outcome.problem.take();
        let redis_answered = drain_once(context, deadline, &mut outcome).await;
        let progressed = (outcome.sent, outcome.dead_letters) != before;
        // Without progress, what stopped the previous pass is still the problem.
        if !progressed && outcome.waiting != Some(0) {
            outcome.problem = outcome.problem.or(last_problem);
        }
        if outcome.problem.is_none() || outcome.busy || !redis_answered || !progressed {
            break;
        }
    }
    outcome
}

/// Makes one pass over the outbox. Returns false if Redis failed: sent entries may then still be in the outbox.
async fn drain_once<S: Store, Q: Queue, D: Queue, T: Timer>(
    context: &Context<S, Q, D, T>,
    deadline: Deadline,
    outcome: &mut DrainOutcome,
) -> bool {
    let timer = &context.timer;
    let mut request = first_page(context, PAGE_ENTRIES);
    // Groups with an entry that could not be sent. Their later entries wait; other groups go on.
    let mut held_groups: HashSet<String> = HashSet::new();
    while request.limit > 0 {
        let may_send =
            timer.monotonic() < deadline.begin_sends && context.circuits.queue.check(timer.now_ms()).is_ok();
        if !may_send {
            // A request with limit 0 removes the finished entries and releases the lease.
            request.limit = 0;
            if request.after.is_none() {
                break;
            }
        }
        let page_deadline = deadline.limited_to(timer.monotonic(), PAGE_TIME);
        let left = page_deadline.end_sends.saturating_sub(timer.monotonic()) + LEASE_SLACK;
        request.lease_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let entries = match read_page(context, &request, deadline).await {
            Ok(OutboxPage { waiting, entries }) => {
                outcome.waiting = Some(waiting);
                outcome.busy = entries.is_none();
                entries.unwrap_or_default()
            }
            Err(problem) => {
                outcome.problem = Some(problem);
                return false;
            }
        };
        if entries.is_empty() {
            break;
        }
        let page_deadline = deadline.limited_to(timer.monotonic(), PAGE_TIME);
        request.done = send_page(context, &entries, &mut held_groups, page_deadline, outcome).await;
        request.after = entries.last().map(|entry| entry.id.clone());
    }
    true
}

/// The first page of a new pass.
fn first_page<S, Q, D, T>(context: &Context<S, Q, D, T>, limit: usize) -> OutboxRequest {
    let keys = &context.settings.core.keys;
    let (outbox, lease) = (keys.outbox(), keys.outbox_lease());
    let pass = context.drain_passes.get() + 1;
    context.drain_passes.set(pass);
    OutboxRequest { outbox, lease, pass, lease_ms: 0, done: Vec::new(), after: None, limit }
}

async fn read_page<S: Store, Q, D, T: Timer>(
    context: &Context<S, Q, D, T>,
    request: &OutboxRequest,
    deadline: Deadline,
) -> Result<OutboxPage, String> {
    let Context { store, timer, settings, circuits, .. } = context;
    let call = || store.outbox_page(request);
    let page =
        guarded::with_retries(timer, &circuits.store, deadline.end_commits, settings.max_retries, call).await;
    page.map_err(|error| format!("outbox: {error}"))
}

/// Sends the entries of a page. Returns the ids of the finished entries: they are in the queue, or dead letters.
async fn send_page<S, Q: Queue, D: Queue, T: Timer>(
    context: &Context<S, Q, D, T>,
    entries: &[OutboxEntry],
    held_groups: &mut HashSet<String>,
    deadline: Deadline,
    outcome: &mut DrainOutcome,
) -> Vec<String> {
    let PageMessages { rows, indices, mut dead_letters, mut kept } =
        page_messages(context, entries, held_groups);
    let rows: Vec<&[Message]> = rows.iter().map(Vec::as_slice).collect();
    // A refused group is retried in the next pass: a retry here would take time from other groups.
    let limits = RequestLimits { retries: 0, ..context.request_limits() };
    let mut dispatch = Dispatch::new(rows.iter().copied().enumerate(), limits);
    for (index, row) in rows.iter().enumerate() {
        let created_ms = row[0].attributes.as_ref().map(|attributes| attributes.timestamp);
        let taken = context.messages_taken.borrow();
        if context.is_overdue(created_ms) && taken.refuses_only(&row[0].group_id) {
            dispatch.allow_rejection(index);
        }
    }
    outcome.sent += context.send(deadline, &mut dispatch, &rows).await;
    // Entries that were not sent stay in the outbox, and hold back the later entries of their groups.
    for unsent in dispatch.unsent() {
        kept.insert(indices[unsent.record][unsent.message]);
        held_groups.insert(rows[unsent.record][unsent.message].group_id.clone());
    }
    if let Some(reason) = dispatch.failed().values().next() {
        outcome.problem.get_or_insert_with(|| reason.clone());
    }
    // Rejected entries become dead letters.
    for Rejection { entry, reason, .. } in dispatch.take_rejected() {
        let message = &rows[entry.record][entry.message];
        let (event, group) = (Undeliverable::Event(&message.body), Some(message.group_id.clone()));
        let dead_letter = context.dead_letters().write(event, &message.dedup_id, group, &reason, "queue");
        dead_letters.push((indices[entry.record][entry.message], dead_letter));
    }
    // Dead letters are sent last, when the time to begin requests can be over. They are few, so let them begin later.
    let sender = context.sender(deadline.begin_until_sends_end());
    let dead_letters: Vec<(usize, &Message)> =
        dead_letters.iter().map(|(index, dead_letter)| (*index, dead_letter)).collect();
    let (written, failed) = sender.send_dead_letters(&context.dead_letter_queue, &dead_letters, limits).await;
    outcome.dead_letters += written;
    // An entry whose dead letter could not be sent stays as well.
    for (index, reason) in failed {
        kept.insert(index);
        held_groups
            .extend(decode_entry(&entries[index].message).ok().map(|waiting| waiting.message.group_id));
        outcome.problem.get_or_insert(reason);
    }
    let done = entries.iter().enumerate().filter(|(index, _)| !kept.contains(index));
    done.map(|(_, entry)| entry.id.clone()).collect()
}

/// The entries of a page as messages.
#[derive(Default)]
struct PageMessages {
    /// Messages, row by row.
    rows: Vec<Vec<Message>>,
    /// The index of each message's entry.
    indices: Vec<Vec<usize>>,
    /// Dead letters, each with the index of its entry.
    dead_letters: Vec<(usize, Message)>,
    /// Indices of entries that stay in the outbox.
    kept: HashSet<usize>,
}

/// Decodes the entries of a page. An entry of a held group stays in the outbox. An unreadable entry becomes a dead
/// letter.
fn page_messages<S, Q, D, T: Timer>(
    context: &Context<S, Q, D, T>,
    entries: &[OutboxEntry],
    held_groups: &HashSet<String>,
) -> PageMessages {
    let mut page = PageMessages::default();
    let mut last_row: Option<String> = None;
    for (index, entry) in entries.iter().enumerate() {
        match decode_entry(&entry.message) {
            Ok(WaitingMessage { message, .. }) if held_groups.contains(&message.group_id) => {
                page.kept.insert(index);
            }
            Ok(WaitingMessage { row, message }) => match (page.rows.last_mut(), page.indices.last_mut()) {
                (Some(messages), Some(indices)) if last_row.as_ref() == Some(&row) => {
                    messages.push(message);
                    indices.push(index);
                }
                _ => {
                    page.rows.push(vec![message]);
                    page.indices.push(vec![index]);
                    last_row = Some(row);
                }
            },
            Err(reason) => {
                let record = Undeliverable::Record(&entry.message);
                let dead_letter = context.dead_letters().write(record, &entry.id, None, &reason, "outbox");
                page.dead_letters.push((index, dead_letter));
            }
        }
    }
    page
}
