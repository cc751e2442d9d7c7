//! While it runs: progress, signals, memory, pace.

use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStderr, ChildStdin, Command, Output, Stdio};

use super::{WorkDir, lines, record, stderr, stdout, stream};

#[test]
fn progress_is_shown_unless_quiet() {
    let work_dir = WorkDir::new();
    work_dir.file("in", lines(&stream(20_100)));
    let said = stderr(&work_dir.run(&["in"]));
    // A slow machine prints more lines than these.
    for records in ["10,000 records, ", "20,000 records, "] {
        assert!(said.lines().any(|line| line.starts_with(records)), "{said}");
    }
    assert_eq!(stderr(&work_dir.run(&["in", "--quiet"])), "");
}

/// A replay of standard input that still runs.
struct Running {
    child: Child,
    input: ChildStdin,
    progress: Lines<BufReader<ChildStderr>>,
}

impl Running {
    fn start(work_dir: &WorkDir) -> Self {
        let mut command = work_dir.command(&["-"]);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let progress = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, input, progress }
    }

    /// Writes `count` records, a multiple of 10,000, and waits until they are delivered.
    fn replay(&mut self, count: usize) {
        for at in (0..count).step_by(10_000) {
            let records: Vec<String> = (at..at + 10_000).map(numbered).collect();
            self.input.write_all(lines(&records).as_bytes()).unwrap();
            let done = (at + 10_000).to_string();
            let says_so = |line: &str| line.split(' ').next().unwrap().replace(',', "") == done;
            assert!(self.progress.any(|line| says_so(&line.unwrap())));
        }
    }

    /// Its memory at its highest, KiB.
    fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    fn kill(self, signal: &str) -> Output {
        let killed = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        let output = self.child.wait_with_output().unwrap();
        drop(self.input);
        output
    }
}

/// A record of one of 1,000 protocols. Each row after the first of its protocol makes two events.
fn numbered(number: usize) -> String {
    let tvl = 1e6 * (1 + number / 1_000 % 2) as f64;
    record("a", number, &(number % 1_000).to_string(), tvl)
}

#[test]
fn a_signal_prints_the_summary_so_far() {
    let work_dir = WorkDir::new();
    for (signal, status, ended) in [("-INT", 130, "interrupted"), ("-TERM", 143, "terminated")] {
        let mut running = Running::start(&work_dir);
        running.replay(10_000);
        let output = running.kill(signal);
        assert_eq!(output.status.code(), Some(status));
        let text = stdout(&output);
        assert!(
            text.starts_with("Replayed 10,000 records of standard input")
                && text.contains(&format!("Ended early: {ended}\n")),
            "{text}"
        );
    }
}

/// `REPLAY_RECORDS=1000000` replays so many.
#[cfg(target_os = "linux")]
#[test]
#[expect(clippy::disallowed_methods, reason = "the variable is for this test alone")]
fn memory_is_flat_however_many_records_there_are() {
    let most = std::env::var("REPLAY_RECORDS").map_or(100_000, |number| number.parse().unwrap());
    let work_dir = WorkDir::new();
    let peak = |records: usize| {
        let mut running = Running::start(&work_dir);
        running.replay(records);
        let peak = running.peak_memory();
        assert_eq!(running.kill("-TERM").status.code(), Some(143));
        println!("{records} records: {peak} KiB at most");
        peak
    };
    peak(10_000);
    // What is bounded is full by then: the store in memory remembers the ids of 50,000 events.
    let (full, last) = (peak(40_000), peak(most));
    assert!(last < full + 4 * 1024, "{full} KiB, {last} KiB");
}

#[test]
fn a_paced_replay_takes_its_time() {
    let work_dir = WorkDir::new();
    work_dir.file("in", lines(&stream(3)));
    let summary = work_dir.json(&["in", "--speed", "14400"]);
    assert!(summary["seconds"].as_f64().unwrap() >= 0.5, "two hours");
}
