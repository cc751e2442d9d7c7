//! The summary as text.

use std::collections::BTreeMap;

use events_core::event::Priority;

use crate::biggest_changes::Change;
use crate::destinations::MEMORY;
use crate::format::{
    self, count, count_of, millis, percent, plain_usd, price, signed, truncated, usd,
    without_control_characters,
};
use crate::latency::Percentiles;
use crate::summary::Summary;
use crate::table::{self, Column};

/// Most reasons in each section. The JSON has more.
const MAX_REASONS: usize = 15;
/// Most characters of a reason.
const MAX_REASON: usize = 84;
/// The columns of a table of a name and four numbers.
const NAME_AND_NUMBERS: [Column; 5] =
    [Column::Left, Column::Right, Column::Right, Column::Right, Column::Right];

/// The summary as text, with a blank line between its sections.
pub(crate) fn text(summary: &Summary) -> String {
    let biggest = &summary.biggest_changes;
    let sections = [
        headline(summary),
        records(summary),
        events(summary),
        changes("Biggest TVL moves in USD", &biggest.tvl_by_usd, "protocol ", usd),
        changes(&by_percent("TVL", biggest.min_tvl_usd), &biggest.tvl_by_percent, "protocol ", usd),
        changes(&by_percent("price", biggest.min_price_usd), &biggest.price_by_percent, "", price),
        changes("Biggest price moves in USD", &biggest.price_by_usd, "", price),
        dead_letters(summary),
        failures(summary),
        latency(summary),
        delivered(summary),
    ];
    sections.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

fn cell(text: impl Into<String>) -> String {
    text.into()
}

fn headline(summary: &Summary) -> Option<String> {
    let records = count_of(summary.records.total, "record");
    let took = millis(summary.seconds * 1e3);
    let speed = count(summary.records_per_second.round() as u64);
    let batches = count_of(summary.batches, "batch");
    let shards = count_of(summary.shards.len() as u64, "shard");
    let mut text = format!(
        "Replayed {records} of {} in {took}: {speed} records/s\n",
        truncated(&without_control_characters(&summary.input), 120)
    );
    text += &format!("in {batches} of at most {}, from {shards}\n", count(summary.batch_size as u64));
    if summary.ended != "complete" {
        text += &format!("Ended early: {}\n", summary.ended);
    }
    Some(text)
}

fn records(summary: &Summary) -> Option<String> {
    let records = &summary.records;
    let skipped = summary.skipped.iter().map(|(reason, number)| format!("{} {reason}", count(*number)));
    let skipped = skipped.collect::<Vec<_>>().join(", ");
    let rows = [
        ("with events", records.with_events, "something changed enough"),
        ("first seen", records.first_seen, "nothing to compare with: the baseline now"),
        ("unchanged", records.unchanged, "compared, below every threshold"),
        ("late", records.late, "older than what is known: nothing done"),
        ("already applied", records.already_applied, "delivered before: nothing done"),
        ("skipped", records.skipped, &skipped),
        ("dead letters", records.dead_letters, "can never be processed: see below"),
        ("given up", records.given_up, "failed in every attempt: see below"),
    ];
    let rows = rows.into_iter().filter(|(_, number, _)| *number > 0);
    let rows: Vec<_> = rows.map(|(what, number, note)| vec![cell(what), count(number), cell(note)]).collect();
    Some(format!("Records\n{}", table::lines(&[Column::Left, Column::Right, Column::Left], &rows)))
}

fn events(summary: &Summary) -> Option<String> {
    const PRIORITIES: [Priority; 3] = [Priority::High, Priority::Medium, Priority::Low];
    let types = &summary.events.by_type;
    if types.is_empty() {
        return Some("Events\n  none\n".to_owned());
    }
    let row = |name: &str, number: &dyn Fn(Priority) -> u64| {
        let numbers = PRIORITIES.map(number);
        let sum = numbers.iter().sum();
        [cell(name)].into_iter().chain(numbers.into_iter().chain([sum]).map(count)).collect::<Vec<_>>()
    };
    let of = |numbers: &BTreeMap<Priority, u64>, priority| numbers.get(&priority).copied().unwrap_or(0);
    let mut rows = vec![["", "high", "medium", "low", "total"].map(str::to_owned).to_vec()];
    rows.extend(types.iter().map(|(name, numbers)| row(name.name(), &|priority| of(numbers, priority))));
    if types.len() > 1 {
        rows.push(row("total", &|priority| types.values().map(|numbers| of(numbers, priority)).sum()));
    }
    Some(format!("Events by type and priority\n{}", table::lines(&NAME_AND_NUMBERS, &rows)))
}

/// The heading of a list by per cent, which leaves out changes below `min_usd`.
fn by_percent(kind: &str, min_usd: f64) -> String {
    let least = if min_usd > 0.0 { format!(", of at least {}", plain_usd(min_usd)) } else { String::new() };
    format!("Biggest {kind} moves in per cent{least}")
}

/// A table of changes. `kind` stands before an id without a name, `amount` formats USD.
fn changes(title: &str, changes: &[Change], kind: &str, amount: fn(f64) -> String) -> Option<String> {
    if changes.is_empty() {
        return None;
    }
    let row = |mover: &Change| {
        let name = match &mover.name {
            Some(name) => format!("{} ({})", format::short_name(name), format::short_name(&mover.id)),
            None => format!("{kind}{}", format::short_name(&mover.id)),
        };
        vec![
            name,
            signed(mover.change_absolute, amount),
            percent(mover.change_percent),
            amount(mover.previous),
            format!("→ {}", amount(mover.current)),
        ]
    };
    let rows: Vec<_> = changes.iter().map(row).collect();
    let columns = [Column::Left, Column::Right, Column::Right, Column::Right, Column::Left];
    Some(format!("{title}\n{}", table::lines(&columns, &rows)))
}

fn dead_letters(summary: &Summary) -> Option<String> {
    if summary.dead_letters.is_empty() {
        return None;
    }
    let mut groups: Vec<_> = summary.dead_letters.iter().collect();
    groups.sort_by_key(|(_, group)| (std::cmp::Reverse(group.count), group.first_line));
    let hidden = groups.len().saturating_sub(MAX_REASONS);
    let mut rows: Vec<_> = groups
        .into_iter()
        .take(MAX_REASONS)
        .map(|(reason, group)| {
            vec![count(group.count), short_reason(reason), format!("line {}", count(group.first_line))]
        })
        .collect();
    rows.extend((hidden > 0).then(|| vec![String::new(), format!("and {hidden} more with --json")]));
    let columns = [Column::Right, Column::Left, Column::Left];
    Some(format!("Dead letters, with the line of the first\n{}", table::lines(&columns, &rows)))
}

fn short_reason(reason: &str) -> String {
    truncated(&without_control_characters(reason), MAX_REASON)
}

fn failures(summary: &Summary) -> Option<String> {
    let failures = &summary.failures;
    if failures.batches == 0 {
        return Some("Failures\n  none\n".to_owned());
    }
    let given_up = summary.records.given_up;
    let mut text = format!(
        "Failures\n  {} with failed records; {}, each from the first failed record on\n  {} done by a retry, {} given up\n",
        count_of(failures.batches, "batch"),
        count_of(failures.retries, "retry"),
        count_of(failures.recovered, "record"),
        count(given_up),
    );
    let mut reasons: Vec<_> = failures.reasons.iter().collect();
    reasons.sort_by_key(|(_, number)| std::cmp::Reverse(**number));
    let rows: Vec<_> = reasons
        .into_iter()
        .take(MAX_REASONS)
        .map(|(reason, number)| vec![format!("{} ×", count(*number)), short_reason(reason)])
        .collect();
    text += &table::lines(&[Column::Right, Column::Left], &rows);
    for record in &failures.given_up {
        let attempts = count_of(u64::from(record.attempts), "attempt");
        text += &format!(
            "  given up: line {} after {attempts}: {}\n",
            count(record.line),
            short_reason(&record.reason)
        );
    }
    let unnamed = given_up.saturating_sub(failures.given_up.len() as u64);
    if unnamed > 0 {
        text += &format!("  given up: {} more\n", count(unnamed));
    }
    Some(text)
}

fn latency(summary: &Summary) -> Option<String> {
    let row = |name: &str, times: Percentiles| {
        let times = [times.p50, times.p95, times.p99, times.max].map(millis);
        [cell(name)].into_iter().chain(times).collect::<Vec<_>>()
    };
    let mut rows = vec![["", "p50", "p95", "p99", "max"].map(str::to_owned).to_vec()];
    rows.push(row("a batch", summary.latency.batch_ms?));
    rows.push(row("a record (of its batch's time)", summary.latency.record_ms?));
    Some(format!("Processing time\n{}", table::lines(&NAME_AND_NUMBERS, &rows)))
}

fn delivered(summary: &Summary) -> Option<String> {
    let (delivered, destinations) = (&summary.delivered, &summary.destinations);
    let name = |destination: &str, setting: &str| match destination {
        MEMORY => format!("in memory ({setting} is not set)"),
        _ => destination.to_owned(),
    };
    let store = name(&destinations.store, "REDIS_URL");
    let mut rows = vec![
        ("messages queued", delivered.messages, name(&destinations.queue, "EVENTS_QUEUE_URL")),
        ("events published", delivered.publications, store.clone()),
        ("hot keys written", delivered.hot_keys, store.clone()),
        ("dead letters", delivered.dead_letters, name(&destinations.dead_letter_queue, "EVENTS_DLQ_URL")),
    ];
    if delivered.spilled + delivered.waiting > 0 {
        rows.push(("events that had to wait", delivered.spilled, format!("{store}, outbox:sqs")));
        rows.push(("events still waiting", delivered.waiting, format!("{store}, outbox:sqs")));
    }
    let rows: Vec<_> = rows
        .into_iter()
        .map(|(what, number, destination)| vec![cell(what), count(number), destination])
        .collect();
    Some(format!("Delivered\n{}", table::lines(&[Column::Left, Column::Right, Column::Left], &rows)))
}
