use super::*;
use crate::biggest_changes::Change;
use crate::delivery::deliver;
use crate::destinations::MEMORY;
use crate::layout::Layout;
use crate::names::Names;
use crate::report;
use crate::test_support::{FakeProcessor, block_on, fake_processor, raw_record, records};
use crate::view::PRIORITIES;
use events_core::event::{EventType, Priority};
use unicode_width::UnicodeWidthStr;

fn summary(processor: &FakeProcessor, batches: Vec<Vec<SourceRecord>>) -> Summary {
    summary_of(processor, batches, View::default())
}

fn summary_of(processor: &FakeProcessor, batches: Vec<Vec<SourceRecord>>, view: View) -> Summary {
    let memory = || MEMORY.to_owned();
    let destinations = Destinations { store: memory(), queue: memory(), dead_letter_queue: memory() };
    let mut summary = Summary::new("input".to_owned(), 100, destinations, &processor.settings().core, view);
    for batch in batches {
        summary.add(&block_on(deliver(processor, batch, 3, |_| {})));
    }
    summary.finish(Duration::from_millis(500), None);
    summary
}

#[test]
fn a_record_counts_once_however_many_attempts_it_takes() {
    let processor = fake_processor();
    processor.queue().refuse("protocol:1", 1);
    let summary = summary(&processor, vec![records("1=1e6 2=5 1=3e6 2=5"), records("1=7")]);
    let expected =
        Records { total: 5, with_events: 1, first_seen: 2, unchanged: 1, late: 1, ..Records::default() };
    assert_eq!(summary.records, expected);
    assert_eq!((summary.batches, summary.failures.batches, summary.failures.retries), (2, 1, 1));
    assert_eq!(
        (summary.failures.recovered, summary.delivered.messages, summary.delivered.publications),
        (1, 1, 1)
    );
    assert_eq!(summary.events.by_type[&EventType::TvlChange], BTreeMap::from([(Priority::High, 1)]));
    assert!((summary.records_per_second - 10.0).abs() < 1e-9);
    let change = &summary.biggest_changes.tvl_by_usd[0];
    assert_eq!((change.id.as_str(), change.change_absolute, change.change_percent), ("1", 2e6, 200.0));
}

#[test]
fn dust_is_not_among_the_biggest_changes_by_per_cent() {
    let summary = summary(
        &fake_processor(),
        vec![records("1=1e-18 1=0.05 2=1e6 2=1.01e6 3=1e6 3=1009999.99 4=5e4 4=4e4")],
    );
    let ids = |changes: &[Change]| changes.iter().map(|change| change.id.clone()).collect::<Vec<_>>();
    let biggest = &summary.biggest_changes;
    assert_eq!(ids(&biggest.tvl_by_percent), ["4", "2"], "changes of at least $10,000");
    assert_eq!(summary.records.with_events, 3, "a change of dust is an event all the same");
    let text = report::text(&summary, Layout::default());
    assert!(text.contains("Biggest TVL moves in per cent, of at least $10,000\n"), "{text}");
}

#[test]
fn records_that_were_given_up_are_listed() {
    let processor = fake_processor();
    processor.queue().refuse("protocol:1", u32::MAX);
    let summary = summary(&processor, vec![records("1=5 1=6 2=5")]);
    assert_eq!((summary.records.given_up, summary.records.first_seen, summary.failures.recovered), (1, 2, 0));
    let given_up = &summary.failures.given_up[0];
    assert_eq!((given_up.line, given_up.attempts), (2, 3));
    let text = report::text(&summary, Layout::default());
    assert!(text.contains("given up: line 2 after 3 attempts: "), "{text}");
    assert!(text.contains("1 batch with failed records; 2 retries, each"), "{text}");
}

#[test]
fn dead_letters_are_grouped_by_reason() {
    let odd = ["1", "2", "[]", r#"{"eventName":"INSERT","dynamodb":{}}"#];
    let batch = odd.iter().enumerate().map(|(number, json)| raw_record(number, json)).collect();
    let summary = summary(&fake_processor(), vec![batch]);
    assert_eq!((summary.records.dead_letters, summary.delivered.dead_letters), (4, 4));
    assert_eq!(summary.dead_letters["no SequenceNumber"], DeadLetterGroup { count: 1, first_line: 4 });
    assert!(
        summary.dead_letters.keys().all(|reason| !reason.contains("column")),
        "{:?}",
        summary.dead_letters
    );
}

#[test]
fn the_dead_letter_of_a_message_that_the_queue_rejects_is_listed() {
    let processor = fake_processor();
    processor.queue().rejected_group.set(Some("protocol:1"));
    let summary = summary(&processor, vec![records("1=5 2=5 1=1e9")]);
    assert_eq!((summary.records.with_events, summary.delivered.dead_letters), (1, 1));
    assert_eq!(summary.dead_letters["invalid content"], DeadLetterGroup { count: 1, first_line: 3 });
}

#[test]
fn the_number_of_distinct_reasons_is_limited() {
    let record = |number| {
        let json = format!(r#"{{"eventName":"X{number}","dynamodb":{{"SequenceNumber":"{number}"}}}}"#);
        raw_record(number, &json)
    };
    let summary = summary(&fake_processor(), vec![(0..3 * MAX_REASONS).map(record).collect()]);
    assert_eq!(summary.dead_letters.len(), MAX_REASONS + 1);
    assert_eq!(summary.dead_letters[OTHER_REASONS].count, 2 * MAX_REASONS as u64);
}

#[test]
fn an_empty_replay_has_a_summary() {
    let summary = summary(&fake_processor(), Vec::new());
    let text = report::text(&summary, Layout::default());
    assert!(text.starts_with("Replayed 0 records of input") && text.contains("Failures\n  none"), "{text}");
    let json = serde_json::to_value(&summary).unwrap();
    assert_eq!(json["latency"]["batchMs"], serde_json::Value::Null);
    assert_eq!(json["records"]["total"], 0);
}

#[test]
fn the_text_has_no_line_that_ends_in_blanks_nor_two_empty_ones() {
    let text =
        report::text(&summary(&fake_processor(), vec![records("1=5 1=6 2=5 2=50000")]), Layout::default());
    assert!(text.lines().all(|line| line == line.trim_end()), "{text}");
    assert!(!text.contains("\n\n\n") && text.ends_with('\n'), "{text}");
}

/// A record of TVL by chain, in seconds after 2026-01-08 10:00 UTC.
fn by_chain(number: usize, protocol: &str, time: i64, [ethereum, base]: [f64; 2]) -> SourceRecord {
    let (time, total) = (1_767_866_400 + time, ethereum + base);
    let keys = format!(r#""PK":{{"S":"hourlyTvl#{protocol}"}},"SK":{{"N":"{time}"}}"#);
    let image = [("tvl", total), ("ethereum", ethereum), ("base", base)]
        .map(|(name, tvl)| format!(r#""{name}":{{"N":"{tvl}"}}"#));
    let json = format!(
        r#"{{"eventName":"INSERT","eventSourceARN":"arn:s","dynamodb":{{"SequenceNumber":"{number}","Keys":{{{keys}}},"NewImage":{{{}}}}}}}"#,
        image.join(",")
    );
    raw_record(number, &json)
}

/// Two rows each of two protocols: the first gains on `base`, the second loses on `ethereum` and gains less on `base`.
fn two_protocols() -> Vec<SourceRecord> {
    vec![
        by_chain(1, "1", 7_200, [1e6, 1e6]),
        by_chain(2, "2", 0, [5e6, 1e6]),
        by_chain(3, "1", 10_800, [1.1e6, 5e6]),
        by_chain(4, "2", 3_600, [3e6, 1.5e6]),
    ]
}

#[test]
fn the_summary_says_what_the_data_is_about() {
    let price = r#"{"eventName":"INSERT","dynamodb":{"SequenceNumber":"9","ApproximateCreationDateTime":1767880800,"Keys":
        {"PK":{"S":"coingecko#bitcoin"},"SK":{"N":"0"}},"NewImage":{"price":{"N":"5"},"timestamp":{"N":"1767880000"}}}}"#;
    let mut batch = two_protocols();
    batch.insert(0, raw_record(9, price));
    let summary = summary(&fake_processor(), vec![batch]);
    assert_eq!((summary.protocols, summary.tokens), (2, 1));
    assert_eq!(summary.span, Some(Span { from: 1_767_866_400_000, to: 1_767_880_000_000 }));
    let text = report::text(&summary, Layout::default());
    let line = "with data from 2026-01-08 10:00 to 2026-01-08 13:46 UTC (3 h 46 min): 2 protocols, 1 token\n";
    assert!(text.contains(line), "{text}");
}

#[test]
fn a_move_has_its_time_and_the_chain_that_contributed_most() {
    let summary = summary(&fake_processor(), vec![two_protocols()]);
    let moves: Vec<_> = summary
        .biggest_changes
        .tvl_by_usd
        .iter()
        .map(|change| (change.id.as_str(), change.chain.as_deref(), change.data_time))
        .collect();
    let expected = [("1", Some("base"), 1_767_877_200_000), ("2", Some("ethereum"), 1_767_870_000_000)];
    assert_eq!(moves, expected);
    let text = report::text(&summary, Layout::default());
    assert!(text.contains("→ $6.10M  2026-01-08 13:00Z  base\n"), "{text}");
}

#[test]
fn a_filter_hides_events_and_changes_no_result() {
    let all = summary(&fake_processor(), vec![two_protocols()]);
    let of = |filter: Filter| {
        let view = View { filter, ..View::default() };
        let filtered = summary_of(&fake_processor(), vec![two_protocols()], view);
        assert_eq!((filtered.records, filtered.delivered), (all.records, all.delivered));
        assert_eq!(filtered.events.total + filtered.hidden_events, all.events.total);
        filtered
    };
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(all.events.total, 6);
    let base = of(Filter { chains: words("Base solana"), ..Filter::default() });
    assert_eq!(base.events.total, 2);
    let moves: Vec<f64> = base.biggest_changes.tvl_by_usd.iter().map(|change| change.current).collect();
    assert_eq!(moves, [5e6, 1.5e6], "the TVL of the chain, not the total");
    let text = report::text(&base, Layout::default());
    let line = "Shown are only events of chain Base or solana: 2 of 6 events. All records were processed.\n";
    assert!(text.contains(line), "{text}");
    assert_eq!(of(Filter { protocols: words("2"), ..Filter::default() }).events.total, 3);
    assert_eq!(of(Filter { types: vec![EventType::PriceUpdate], ..Filter::default() }).events.total, 0);
    let high = of(Filter { priorities: vec![Priority::High], ..Filter::default() });
    assert!(high.events.total > 0 && high.events.total < 6);
}

/// A report with every section, and names that are long or wide.
fn full_report() -> Summary {
    let names = r#"{"1":"A name that is much too long for a column","2":"币安币安币安币安"}"#;
    let path = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(path.path(), names).unwrap();
    let view = View {
        names: Names::read(path.path()).unwrap(),
        filter: Filter { priorities: PRIORITIES.to_vec(), ..Filter::default() },
    };
    let processor = fake_processor();
    processor.queue().refuse("protocol:3", u32::MAX);
    let mut batch = two_protocols();
    batch.extend((0..20).map(|number| raw_record(number, &format!(r#"{{"eventName":"X{number}"}}"#))));
    let mut summary = summary_of(&processor, vec![batch, records("3=5 3=9e9")], view);
    summary.input = "a/path/without/any/blank/".repeat(9);
    summary.records.with_events = 1_234_567_890;
    summary.finish(Duration::from_secs(1), Some("a reason, line 17: not JSON".to_owned()));
    summary
}

#[test]
fn a_report_fits_every_width_from_40_to_200() {
    let summary = full_report();
    for width in 40..=200 {
        let text = report::text(&summary, Layout { width, colour: false });
        for line in text.lines() {
            assert!(line.width() <= width && line == line.trim_end(), "{width}: {line:?}");
        }
        assert!(text.contains("protocol") && text.contains("Ended early"), "{text}");
    }
    let narrow = report::text(&summary, Layout { width: 40, colour: false });
    assert!(
        narrow.contains("\n    $2.00M  → $6.10M  2026-01-08 13:00Z\n    base\n"),
        "nothing is left out: {narrow}"
    );
}

#[test]
fn colours_change_nothing_but_colours() {
    let summary = full_report();
    for width in [40, 80, 200] {
        let plain = report::text(&summary, Layout { width, colour: false });
        let coloured = report::text(&summary, Layout { width, colour: true });
        assert!(coloured.contains("\u{1b}[32m+$4.10M\u{1b}[0m"), "{coloured}");
        let mut without = String::new();
        for (at, part) in coloured.split('\u{1b}').enumerate() {
            without += if at == 0 { part } else { part.split_once('m').unwrap().1 };
        }
        assert_eq!(without, plain);
    }
}

const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/schemas/summary.schema.json");

/// `UPDATE_SCHEMA=1` writes the file.
#[test]
#[expect(clippy::disallowed_methods, reason = "the variable is for this test alone")]
fn the_schema_is_made_from_the_types() {
    let schema = serde_json::to_value(schemars::schema_for!(Summary)).unwrap();
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(SCHEMA, serde_json::to_string_pretty(&schema).unwrap() + "\n").unwrap();
    }
    let file: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(SCHEMA).unwrap()).unwrap();
    assert_eq!(file, schema, "run the test with UPDATE_SCHEMA=1, and look at what changes");
}

#[test]
fn summaries_fit_the_schema_and_broken_ones_do_not() {
    let schema = serde_json::from_str(&std::fs::read_to_string(SCHEMA).unwrap()).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    for summary in [summary(&fake_processor(), Vec::new()), full_report()] {
        let json = serde_json::to_value(&summary).unwrap();
        let problems: Vec<_> = schema.iter_errors(&json).map(|error| error.to_string()).collect();
        assert!(problems.is_empty(), "{problems:?}");
        for (pointer, wrong) in
            [("/records/total", "5"), ("/events/byType", "x"), ("/span", "now"), ("/ended", "")]
        {
            let mut broken = json.clone();
            let text = if pointer == "/ended" { serde_json::Value::Null } else { wrong.into() };
            *broken.pointer_mut(pointer).unwrap() = text;
            assert!(!schema.is_valid(&broken), "{pointer}");
        }
    }
}
