//! The tables of `make bench`.

use std::collections::BTreeSet;
use std::process::Command;

use crate::bench::{BATCH, Measured};
use crate::measure::{Sample, column};
use crate::stats::{median, short, spread, table};
use crate::{proc, syscalls};

/// The page with all tables.
pub(crate) fn bench(measured: &[Measured], rounds: usize) -> String {
    let mut text = format!(
        "# Measurements\n\n`make bench WRITE=1` writes this page. {}, {}; {rounds} rounds, alternating; batches of \
         {BATCH} records. Cells are medians, with the smallest and the largest round in parentheses. CPU is that of the \
         measured process alone. \"Without a processor\" is the time for which it was ready to run while others ran. Compare only \
         within one table.\n",
        today(),
        proc::machine()
    );
    for measured in measured {
        text.push_str(&format!("\n## {}\n\n{}", measured.workload, times(measured)));
        text.push_str(&format!(
            "\n\"Alone\" is a process that only sends the bytes that `bootstrap` sent, and reads the answers. The floor is \
             the sum of both and of the empty function.\n\n{}",
            sent(measured)
        ));
        if !measured.calls.is_empty() {
            text.push_str(&format!(
                "\nSystem calls of one batch: calls, KiB, packets of 1,448 bytes.\n\n{}",
                calls(measured)
            ));
        }
    }
    text
}

fn today() -> String {
    let date = Command::new("date").args(["-u", "+%Y-%m-%d"]).output();
    date.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn times(measured: &Measured) -> String {
    let header = [
        "process",
        "CPU µs a record",
        "× bootstrap",
        "ms a batch, p50",
        "p99",
        "records/s",
        "peak MiB",
        "start ms",
        "ms a batch without a processor",
    ];
    let cpu = |samples: &[Sample]| median(&column(samples, |sample| sample.cpu_us));
    let base = measured.samples.first().map_or(1.0, |(_, samples)| cpu(samples));
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (name, samples) in &measured.samples {
        let cell = |value: fn(&Sample) -> f64| spread(&column(samples, value));
        // A replay holds its whole recording in memory and reads it at start.
        let is_replay = name.ends_with(" alone");
        let of_function = |value| if is_replay { String::new() } else { cell(value) };
        rows.push(vec![
            name.clone(),
            cell(|sample| sample.cpu_us),
            short(cpu(samples) / base),
            cell(|sample| sample.p50_ms),
            cell(|sample| sample.p99_ms),
            cell(|sample| sample.per_second),
            of_function(|sample| sample.peak_mib),
            of_function(|sample| sample.init_ms),
            cell(|sample| sample.run_delay_ms),
        ]);
    }
    let is_floor = |name: &str| name.ends_with(" alone") || name == "empty function";
    let floor: f64 =
        measured.samples.iter().filter(|(name, _)| is_floor(name)).map(|(_, samples)| cpu(samples)).sum();
    let mut row = vec!["the floor".to_owned(), short(floor), short(floor / base)];
    row.resize(header.len(), String::new());
    rows.push(row);
    table(&header, &rows)
}

/// What others have to do, and what is sent: counts, which no noise touches.
fn sent(measured: &Measured) -> String {
    let header = [
        "process",
        "events a record",
        "Redis CPU µs a record",
        "Redis commands a record",
        "SQS requests a batch",
        "SQS KiB a batch",
        "ms a batch with latencies",
    ];
    let rows: Vec<Vec<String>> = measured
        .samples
        .iter()
        .map(|(name, samples)| {
            let cell = |value: fn(&Sample) -> f64| spread(&column(samples, value));
            let distant = measured.distant_ms.iter().find(|(other, _)| other == name);
            vec![
                name.clone(),
                cell(|sample| sample.events),
                cell(|sample| sample.redis_us),
                cell(|sample| sample.redis_calls),
                cell(|sample| sample.sqs_requests),
                cell(|sample| sample.sqs_bytes / 1024.0),
                distant.map_or_else(String::new, |(_, ms)| short(*ms)),
            ]
        })
        .collect();
    table(&header, &rows)
}

fn calls(measured: &Measured) -> String {
    let names: Vec<&str> = measured.calls.iter().map(|(name, _)| name.as_str()).collect();
    let header: Vec<&str> = ["calls"].into_iter().chain(names).collect();
    let kinds: BTreeSet<&String> = measured.calls.iter().flat_map(|(_, counted)| counted.keys()).collect();
    let traced = measured.traced as f64;
    let rows: Vec<Vec<String>> = kinds
        .into_iter()
        .map(|kind| {
            let cell = |counted: &syscalls::Counted| {
                let calls = counted.get(kind).copied().unwrap_or_default();
                let number = short(calls.calls as f64 / traced);
                if calls.bytes == 0 || kind == "all" {
                    return number;
                }
                let (kib, packets) = (calls.bytes as f64 / 1024.0 / traced, calls.segments as f64 / traced);
                format!("{number}, {}, {}", short(kib), short(packets))
            };
            let cells = measured.calls.iter().map(|(_, counted)| cell(counted));
            [kind.clone()].into_iter().chain(cells).collect()
        })
        .collect();
    table(&header, &rows)
}
