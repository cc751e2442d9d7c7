//! The summary as text.

use std::collections::BTreeMap;

use anstyle::{AnsiColor, Style};
use events_core::event::Priority;

use crate::biggest_changes::Change;
use crate::destinations::MEMORY;
use crate::format::{
    self, count, count_of, millis, percent, plain_usd, price, signed, span, truncated, usd, utc,
    without_control_characters,
};
use crate::latency::Percentiles;
use crate::layout::Layout;
use crate::summary::Summary;
use crate::table::{Cell, Column, Table};
use crate::view::PRIORITIES;

/// Most reasons in each section. The JSON has more.
const MAX_REASONS: usize = 15;
/// Most characters of a reason.
const MAX_REASON: usize = 84;
/// Most characters of the name of the input.
const MAX_INPUT: usize = 120;
/// The columns of a table of a name and four numbers.
const NAME_AND_NUMBERS: [Column; 5] =
    [Column::Left, Column::Right, Column::Right, Column::Right, Column::Right];
/// The columns of a table of a name, a number, and a note.
const NAME_NUMBER_NOTE: [Column; 3] = [Column::Left, Column::Right, Column::Left];

const TITLE: Style = Style::new().bold();
const NOTE: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const WARNING: Style = AnsiColor::Yellow.on_default();
const BAD: Style = AnsiColor::Red.on_default();

/// The summary as text, with a blank line between its sections.
pub(crate) fn text(summary: &Summary, layout: Layout) -> String {
    let biggest = &summary.biggest_changes;
    let sections = [
        headline(summary, layout),
        records(summary, layout),
        events(summary, layout),
        changes(layout, "Biggest TVL moves in USD", &biggest.tvl_by_usd, "protocol ", usd),
        changes(layout, &by_percent("TVL", biggest.min_tvl_usd), &biggest.tvl_by_percent, "protocol ", usd),
        changes(layout, &by_percent("price", biggest.min_price_usd), &biggest.price_by_percent, "", price),
        changes(layout, "Biggest price moves in USD", &biggest.price_by_usd, "", price),
        signals(summary, layout),
        dead_letters(summary, layout),
        failures(summary, layout),
        latency(summary, layout),
        delivered(summary, layout),
    ];
    sections.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

/// A table with its title.
fn section(layout: Layout, title: &str, table: &Table) -> String {
    layout.lines(0, TITLE, title) + &table.text(layout)
}

fn headline(summary: &Summary, layout: Layout) -> Option<String> {
    let plain = |text: &str| layout.lines(0, Style::new(), text);
    let records = count_of(summary.records.total, "record");
    let took = millis(summary.seconds * 1e3);
    let speed = count(summary.records_per_second.round() as u64);
    let batches = count_of(summary.batches, "batch");
    let shards = count_of(summary.shards.len() as u64, "shard");
    let input = truncated(&without_control_characters(&summary.input), MAX_INPUT);
    let mut text =
        layout.lines(0, TITLE, &format!("Replayed {records} of {input} in {took}: {speed} records/s"));
    let batch_size = count(summary.batch_size as u64);
    text += &plain(&format!("in {batches} of at most {batch_size}, from {shards}"));
    text += &summary.span.map_or_else(String::new, |_| plain(&data(summary)));
    if !summary.view.filter.is_empty() {
        text += &layout.lines(0, WARNING, &shown(summary));
    }
    if summary.ended != "complete" {
        let ended = without_control_characters(&summary.ended);
        text += &layout.lines(0, BAD, &format!("Ended early: {ended}"));
    }
    Some(text)
}

/// What the data is about.
fn data(summary: &Summary) -> String {
    let (protocols, tokens) = (count_of(summary.protocols, "protocol"), count_of(summary.tokens, "token"));
    let times = summary.span.map_or_else(String::new, |times| {
        let length = span(times.to - times.from);
        format!("from {} to {} UTC ({length}): ", utc(times.from), utc(times.to))
    });
    format!("with data {times}{protocols}, {tokens}")
}

/// What the filter shows.
fn shown(summary: &Summary) -> String {
    let (shown, hidden) = (summary.events.total, summary.hidden_events);
    let filter = without_control_characters(&summary.view.filter.to_string());
    let all = count_of(shown + hidden, "event");
    format!("Shown are only events of {filter}: {} of {all}. All records were processed.", count(shown))
}

fn records(summary: &Summary, layout: Layout) -> Option<String> {
    let records = &summary.records;
    let skipped = summary.skipped.iter().map(|(reason, number)| format!("{} {reason}", count(*number)));
    let skipped = skipped.collect::<Vec<_>>().join(", ");
    let plain = Style::new();
    let rows = [
        ("with events", records.with_events, "something changed enough", plain),
        ("first seen", records.first_seen, "nothing to compare with: the baseline now", plain),
        ("unchanged", records.unchanged, "compared, below every threshold", plain),
        ("late", records.late, "older than what is known: nothing done", plain),
        ("already applied", records.already_applied, "delivered before: nothing done", plain),
        ("skipped", records.skipped, &skipped, plain),
        ("dead letters", records.dead_letters, "can never be processed: see below", WARNING),
        ("given up", records.given_up, "failed in every attempt: see below", BAD),
    ];
    let rows = rows.into_iter().filter(|(_, number, ..)| *number > 0);
    let rows = rows.map(|(what, number, note, style)| {
        vec![
            Cell::from(what).styled(style),
            Cell::from(count(number)).styled(style),
            Cell::from(note).styled(NOTE),
        ]
    });
    let table = Table { columns: &NAME_NUMBER_NOTE, keep: 3, rows: rows.collect() };
    Some(section(layout, "Records", &table))
}

fn events(summary: &Summary, layout: Layout) -> Option<String> {
    let types = &summary.events.by_type;
    if types.is_empty() {
        return Some(layout.lines(0, TITLE, "Events") + "  none\n");
    }
    let row = |name: &str, number: &dyn Fn(Priority) -> u64| {
        let numbers = PRIORITIES.map(number);
        let sum = numbers.iter().sum();
        [Cell::from(name)]
            .into_iter()
            .chain(numbers.into_iter().chain([sum]).map(|number| Cell::from(count(number))))
            .collect::<Vec<_>>()
    };
    let of = |numbers: &BTreeMap<Priority, u64>, priority| numbers.get(&priority).copied().unwrap_or(0);
    let mut rows = vec![["", "high", "medium", "low", "total"].map(Cell::from).to_vec()];
    rows.extend(types.iter().map(|(name, numbers)| row(name.name(), &|priority| of(numbers, priority))));
    if types.len() > 1 {
        rows.push(row("total", &|priority| types.values().map(|numbers| of(numbers, priority)).sum()));
    }
    let table = Table { columns: &NAME_AND_NUMBERS, keep: 5, rows };
    Some(section(layout, "Events by type and priority", &table))
}

/// The heading of a list by per cent, which leaves out changes below `min_usd`.
fn by_percent(kind: &str, min_usd: f64) -> String {
    let least = if min_usd > 0.0 { format!(", of at least {}", plain_usd(min_usd)) } else { String::new() };
    format!("Biggest {kind} moves in per cent{least}")
}

/// A table of changes. `kind` stands before an id without a name, `amount` formats USD.
fn changes(
    layout: Layout,
    title: &str,
    changes: &[Change],
    kind: &str,
    amount: fn(f64) -> String,
) -> Option<String> {
    const COLUMNS: [Column; 7] =
        [Column::Left, Column::Right, Column::Right, Column::Right, Column::Left, Column::Left, Column::Left];
    if changes.is_empty() {
        return None;
    }
    let row = |mover: &Change| {
        let name = match &mover.name {
            Some(name) => format!("{} ({})", format::short_name(name), format::short_name(&mover.id)),
            None => format!("{kind}{}", format::short_name(&mover.id)),
        };
        let style = if mover.change_absolute < 0.0 { BAD } else { GOOD };
        vec![
            Cell::from(name),
            Cell::from(signed(mover.change_absolute, amount)).styled(style),
            Cell::from(percent(mover.change_percent)).styled(style),
            Cell::from(amount(mover.previous)),
            Cell::from(format!("→ {}", amount(mover.current))),
            Cell::from(format!("{}Z", utc(mover.data_time))).styled(NOTE),
            Cell::from(mover.chain.as_deref().map(format::short_name).unwrap_or_default()).styled(NOTE),
        ]
    };
    let table = Table { columns: &COLUMNS, keep: 3, rows: changes.iter().map(row).collect() };
    Some(section(layout, title, &table))
}

fn signals(summary: &Summary, layout: Layout) -> Option<String> {
    const COLUMNS: [Column; 6] =
        [Column::Left, Column::Right, Column::Right, Column::Right, Column::Right, Column::Left];
    let signals = summary.signals.as_ref()?;
    let mut rows =
        vec![["", "new", "confirmed", "returned", "alerts", "for example"].map(Cell::from).to_vec()];
    rows.extend(signals.kinds.iter().map(|(kind, counts)| {
        let numbers = [counts.new, counts.confirmed, counts.reverted, counts.alerts];
        let example = counts.example.as_ref().map(|example| {
            let name = example.name.as_ref().unwrap_or(&example.id);
            truncated(&without_control_characters(&format!("{name}: {}", example.reason)), MAX_REASON)
        });
        let numbers = numbers.map(|number| Cell::from(count(number)));
        let example = Cell::from(example.unwrap_or_default()).styled(NOTE);
        [Cell::from(kind.name())].into_iter().chain(numbers).chain([example]).collect()
    }));
    let table = Table { columns: &COLUMNS, keep: 5, rows };
    let [plain, alerts, both] = [signals.plain_alerts, signals.alerts, signals.both].map(count);
    let compared = format!(
        "A score of 60 and above alerts {alerts} times, the plain rule (a change above 50 %) {plain} times; {both} of these \
         are the same events"
    );
    Some(section(layout, "Signals", &table) + &layout.lines(2, Style::new(), &compared))
}

fn dead_letters(summary: &Summary, layout: Layout) -> Option<String> {
    const COLUMNS: [Column; 3] = [Column::Right, Column::Left, Column::Left];
    if summary.dead_letters.is_empty() {
        return None;
    }
    let mut groups: Vec<_> = summary.dead_letters.iter().collect();
    groups.sort_by_key(|(_, group)| (std::cmp::Reverse(group.count), group.first_line));
    let hidden = groups.len().saturating_sub(MAX_REASONS);
    let mut rows: Vec<Vec<Cell>> = groups
        .into_iter()
        .take(MAX_REASONS)
        .map(|(reason, group)| {
            let line = format!("line {}", count(group.first_line));
            vec![Cell::from(count(group.count)).styled(WARNING), short_reason(reason).into(), line.into()]
        })
        .collect();
    rows.extend((hidden > 0).then(|| vec![Cell::default(), format!("and {hidden} more with --json").into()]));
    let table = Table { columns: &COLUMNS, keep: 3, rows };
    Some(section(layout, "Dead letters, with the line of the first", &table))
}

fn short_reason(reason: &str) -> String {
    truncated(&without_control_characters(reason), MAX_REASON)
}

fn failures(summary: &Summary, layout: Layout) -> Option<String> {
    let failures = &summary.failures;
    let title = layout.lines(0, TITLE, "Failures");
    if failures.batches == 0 {
        return Some(title + "  none\n");
    }
    let line = |text: String| layout.lines(2, Style::new(), &text);
    let given_up = summary.records.given_up;
    let batches = count_of(failures.batches, "batch");
    let retries = count_of(failures.retries, "retry");
    let recovered = count_of(failures.recovered, "record");
    let mut text = title
        + &line(format!("{batches} with failed records; {retries}, each from the first failed record on"));
    text += &line(format!("{recovered} done by a retry, {} given up", count(given_up)));
    text += &reasons(&failures.reasons).text(layout);
    for record in &failures.given_up {
        let (number, attempts) = (count(record.line), count_of(u64::from(record.attempts), "attempt"));
        let reason = short_reason(&record.reason);
        text += &layout.lines(2, BAD, &format!("given up: line {number} after {attempts}: {reason}"));
    }
    let unnamed = given_up.saturating_sub(failures.given_up.len() as u64);
    if unnamed > 0 {
        text += &layout.lines(2, BAD, &format!("given up: {} more", count(unnamed)));
    }
    Some(text)
}

/// The reasons of failures, the most frequent first.
fn reasons(reasons: &BTreeMap<String, u64>) -> Table {
    let mut sorted: Vec<_> = reasons.iter().collect();
    sorted.sort_by_key(|(_, number)| std::cmp::Reverse(**number));
    let rows = sorted
        .into_iter()
        .take(MAX_REASONS)
        .map(|(reason, number)| {
            vec![Cell::from(format!("{} ×", count(*number))).styled(WARNING), short_reason(reason).into()]
        })
        .collect();
    Table { columns: &[Column::Right, Column::Left], keep: 2, rows }
}

fn latency(summary: &Summary, layout: Layout) -> Option<String> {
    let row = |name: &str, times: Percentiles| {
        let times = [times.p50, times.p95, times.p99, times.max].map(|time| Cell::from(millis(time)));
        [Cell::from(name)].into_iter().chain(times).collect::<Vec<_>>()
    };
    let mut rows = vec![["", "p50", "p95", "p99", "max"].map(Cell::from).to_vec()];
    rows.push(row("a batch", summary.latency.batch_ms?));
    rows.push(row("a record (of its batch's time)", summary.latency.record_ms?));
    let table = Table { columns: &NAME_AND_NUMBERS, keep: 5, rows };
    Some(section(layout, "Processing time", &table))
}

fn delivered(summary: &Summary, layout: Layout) -> Option<String> {
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
    let row = |(what, number, destination): (&str, u64, String)| {
        vec![Cell::from(what), Cell::from(count(number)), Cell::from(destination).styled(NOTE)]
    };
    let table = Table { columns: &NAME_NUMBER_NOTE, keep: 3, rows: rows.into_iter().map(row).collect() };
    Some(section(layout, "Delivered", &table))
}
