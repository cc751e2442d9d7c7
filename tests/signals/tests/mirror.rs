//! The rule of the signals agrees with its mirror in Python, to the bit.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "test code")]

use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use events_core::signal::{Amount, Facts, Hint, Meter, Step, Unit, step};
use events_core::value::Number;
use events_signals::random::Random;

const STEPS: u64 = 1_000_000;
/// Steps of one value.
const STEPS_OF_VALUE: u64 = 500;
/// Mirrors that run side by side.
const MIRRORS: u64 = 2;

const HINTS: [(Hint, &str); 5] = [
    (Hint::None, "none"),
    (Hint::UnitError, "unit-error"),
    (Hint::ChainOutage, "chain-outage"),
    (Hint::ChainBack, "chain-back"),
    (Hint::Proportional, "proportional"),
];

fn mirror() -> Child {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("mirror.py");
    let mut python = Command::new("python3");
    python.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped());
    python.spawn().expect("python3 runs: install it (Debian: apt-get install python3)")
}

/// The next value: mostly near the last one, or where it has been; now and then anything, up to 38 digits.
fn next_value(random: &mut Random, levels: &[f64; 3], last: &str) -> String {
    let near = |random: &mut Random, level: f64| format!("{}", level * (1.0 + 0.004 * random.bell()));
    match random.below(100) {
        0..60 => near(random, levels[0]),
        60..75 => near(random, levels[1]),
        75..85 => near(random, levels[2]),
        85..88 => last.to_owned(),
        88..90 => "0".into(),
        90..92 => format!("-{}", near(random, levels[0])),
        92..94 => format!("{}", levels[0] * [1e3, 1e-3, 1e6, 1e-12, 50.0][random.below(5) as usize]),
        94..96 => format!("{}{:037}", 1 + random.below(9), u128::from(random.number())),
        96..97 => format!("-{}e{}", 1 + random.below(999), random.below(120)),
        97..98 => format!("{}e-{}", 1 + random.below(999), random.below(120)),
        _ => format!("{}", random.below(20_000)),
    }
}

fn signal_text(signal: Option<&Step>) -> String {
    let Some(Step { score, kind, stage, typical, z, about, from, took_ms, rows }) = signal else {
        return "-".into();
    };
    let (kind, stage, about) = (kind.name(), stage.name(), about.as_deref().unwrap_or("-"));
    format!("{score} {kind} {stage} {typical} {z} {about} {from} {took_ms} {rows}")
}

/// Sends the steps of a seed to a mirror while this end compares its answers. Returns the number of signals.
fn compare(seed: u64, steps: u64) -> u64 {
    let mut python = mirror();
    let mut input = BufWriter::new(python.stdin.take().unwrap());
    let (expected, answers) = std::sync::mpsc::sync_channel::<(String, String)>(10_000);
    let output = BufReader::new(python.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        let mut lines = output.lines();
        let mut signals = 0;
        for (line, expected) in answers {
            let answer = lines.next().expect("the mirror answers each step").unwrap();
            assert_eq!(answer, expected, "after: {line}");
            signals += u64::from(!expected.ends_with("|-"));
        }
        signals
    });
    let mut random = Random::new(seed, 7);
    let mut id = 0_u64;
    for _ in 0..steps / STEPS_OF_VALUE {
        let is_price = random.chance(0.3);
        let (unit, unit_name) = if is_price { (Unit::Price, "price") } else { (Unit::Tvl, "tvl") };
        let level = if is_price { [1.0, 1.0, 3.0][random.below(3) as usize] } else { random.even(1e3, 1e9) };
        let levels = [level, level * random.even(0.9, 1.2), level * random.even(0.01, 3.0)];
        let (mut meter, mut last, mut now) = (Meter::default(), format!("{level}"), 1_767_225_600_000_i64);
        for _ in 0..STEPS_OF_VALUE {
            let current = next_value(&mut random, &levels, &last);
            let gap = [3_600_000, 3_597_000, 300_000, 90_000_000, 0, -5_000, 43_200_000, 7_200_123];
            let then = now + gap[(random.below(20) % 8) as usize];
            let (hint, hint_name) = HINTS[if random.chance(0.7) { 0 } else { random.below(5) as usize }];
            id += 1;
            let market_cap = random.chance(0.5).then(|| random.number() >> random.below(64));
            let cap = market_cap.map_or("-".to_owned(), |cap| cap.to_string());
            let event_id = format!("{seed:08x}-0000-5000-8000-{id:012x}");
            let facts = Facts {
                unit,
                previous: Amount::from(&last.parse::<Number>().unwrap()),
                current: Amount::from(&current.parse::<Number>().unwrap()),
                previous_ms: now,
                current_ms: then,
                market_cap,
                hint: &|| hint,
                id: &|| event_id.clone(),
            };
            let stored = meter.to_text().replace(' ', ",");
            let line =
                format!("{unit_name} {last} {current} {now} {then} {cap} {hint_name} {event_id} {stored}");
            let (after, signal) = step(&meter, &facts);
            writeln!(input, "{line}").unwrap();
            let expected_line = format!("{}|{}", after.to_text(), signal_text(signal.as_ref()));
            if expected.send((line, expected_line)).is_err() {
                break;
            }
            (meter, last, now) = (after, current, then);
        }
    }
    drop((input, expected));
    let signals = reader.join().expect("the mirror agrees");
    assert!(python.wait().unwrap().success());
    signals
}

#[test]
fn a_million_random_steps_are_the_same_in_python() {
    let mirrors: Vec<_> =
        (1..=MIRRORS).map(|seed| std::thread::spawn(move || compare(seed, STEPS / MIRRORS))).collect();
    let signals: u64 = mirrors.into_iter().map(|mirror| mirror.join().expect("the mirror agrees")).sum();
    assert!(signals > STEPS / 10, "only {signals} steps had a signal: the steps explore too little");
}
