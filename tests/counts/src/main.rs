//! What valgrind runs: `events-counts KIND STAGE` does the work of one stage on one batch.

use std::hint::black_box;
use std::process::ExitCode;

use events_counts::{Batch, Kind, Stage, Work, counted_work};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let kind = arguments.next().as_deref().and_then(Kind::named);
    let stage = arguments.next().as_deref().and_then(Stage::named);
    let (Some(kind), Some(stage)) = (kind, stage) else { return ExitCode::from(2) };
    let batch = Batch::of(kind);
    black_box(counted_work(black_box(Work::new(&batch, stage))));
    ExitCode::SUCCESS
}
