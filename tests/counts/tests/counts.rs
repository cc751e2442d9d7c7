//! Compares the counts of every stage with `counts.txt`.
//!
//! Allocations are counted in every run of the tests. Instructions are counted by valgrind, and only in the program as it
//! ships: `make counts` builds it so. `make counts WRITE=1` renews the file.

#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;

use events_counts::{Batch, Kind, Stage, Work, counted_work};

/// How much a count may rise, in per cent.
const MAY_RISE: f64 = 2.0;
/// How much a count may fall, in per cent: beyond it, the file is out of date and would hide a rise back to the old count.
const MAY_FALL: f64 = 10.0;

/// What is counted.
const COUNTED: [&str; 3] = ["allocations", "bytes", "instructions"];

/// Counts by kind and stage, in the order of [`COUNTED`].
type Counts = BTreeMap<String, [u64; 3]>;

#[test]
fn no_stage_costs_more_than_the_file_says() {
    let with_instructions = !cfg!(debug_assertions);
    let compiler = compiler();
    let counts = count(with_instructions);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("counts.txt");
    if std::env::var_os("COUNTS_WRITE").is_some() {
        assert!(with_instructions, "only `make counts WRITE=1` counts everything");
        fs::write(&path, written(&compiler, &counts)).unwrap();
        return;
    }
    let (stored_compiler, stored) = read(&fs::read_to_string(&path).unwrap());
    assert_eq!(counts.keys().collect::<Vec<_>>(), stored.keys().collect::<Vec<_>>(), "other stages or kinds");

    // Another compiler makes other instructions of the same code. It allocates the same.
    let same_compiler = compiler == stored_compiler;
    if with_instructions && !same_compiler {
        println!("instructions are only reported: the file is of {stored_compiler}, this is {compiler}");
    }
    let mut wrong = Vec::new();
    for (name, now) in &counts {
        for ((what, now), before) in COUNTED.iter().zip(now).zip(stored[name]) {
            if *what == "instructions" && !with_instructions {
                continue;
            }
            let change = 100.0 * (*now as f64 - before as f64) / (before.max(1) as f64);
            let line = format!("{name}: {before} {what} before, {now} now, {change:+.1} %");
            println!("{line}");
            if !(-MAY_FALL..=MAY_RISE).contains(&change) && (*what != "instructions" || same_compiler) {
                wrong.push(line);
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "a count may rise by {MAY_RISE} % and fall by {MAY_FALL} %; if the change is wanted, `make counts WRITE=1`:\n{}",
        wrong.join("\n")
    );
}

fn count(with_instructions: bool) -> Counts {
    let mut counts = Counts::new();
    for kind in Kind::ALL {
        let batch = Batch::of(kind);
        for stage in Stage::ALL {
            let mut work = Some(Work::new(&batch, stage));
            let counted = allocation_counter::measure(|| {
                black_box(work.take().map(counted_work));
            });
            let instructions = if with_instructions { instructions(kind, stage) } else { 0 };
            let name = format!("{} {}", kind.name(), stage.name());
            counts.insert(name, [counted.count_total, counted.bytes_total, instructions]);
        }
    }
    counts
}

/// Settings of glibc's allocator: no chunk leaves the cache of the thread, no page goes back to the system. With its own
/// settings, glibc merges free chunks at a moment that depends on where the heap begins, which differs between runs: the
/// same stage cost 447,000 or 530,000 instructions. Allocations have a count of their own.
const ALLOCATOR: &str = "glibc.malloc.tcache_count=65535:glibc.malloc.top_pad=67108864";

/// The instructions of a stage, without its preparation.
fn instructions(kind: Kind, stage: Stage) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*counted_work"])
        .args([env!("CARGO_BIN_EXE_events-counts"), kind.name(), stage.name()])
        .env("GLIBC_TUNABLES", ALLOCATOR)
        .output()
        .expect("valgrind is missing: install it (Debian: apt-get install valgrind)");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    let collected = log.lines().find_map(|line| line.split_once("Collected : "));
    let (_, number) = collected.unwrap_or_else(|| panic!("no count in: {log}"));
    number.trim().parse().unwrap()
}

/// The compiler and the processor, on which the number of instructions depends.
fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output().unwrap();
    format!("{}, {}", String::from_utf8_lossy(&output.stdout).trim(), std::env::consts::ARCH)
}

fn written(compiler: &str, counts: &Counts) -> String {
    let mut text = format!(
        "# Of a batch of 100 records. `make counts` compares, `make counts WRITE=1` renews.\n# {compiler}\n{:<20}",
        "# kind and stage"
    );
    for what in COUNTED {
        write!(text, " {what:>12}").unwrap();
    }
    for (name, counts) in counts {
        write!(text, "\n{name:<20}").unwrap();
        for count in counts {
            write!(text, " {count:>12}").unwrap();
        }
    }
    text + "\n"
}

fn read(text: &str) -> (String, Counts) {
    let compiler = text.lines().nth(1).unwrap().trim_start_matches("# ").to_owned();
    let counts = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [kind, stage, numbers @ ..] = words.as_slice() else { panic!("{line}") };
        let numbers: Vec<u64> = numbers.iter().map(|number| number.parse().unwrap()).collect();
        (format!("{kind} {stage}"), numbers.try_into().unwrap())
    });
    (compiler, counts.collect())
}
