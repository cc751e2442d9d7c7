//! Times of the stages, for people: `cargo bench --package events-counts`. CI compares counts, not times.

use divan::Bencher;
use events_counts::{Batch, Kind, Stage, Work, counted_work};

fn main() {
    divan::main();
}

/// Every stage of every kind. One iteration is a batch of 100 records.
#[divan::bench(args = cases())]
fn batch(bencher: Bencher<'_, '_>, case: &str) {
    let (kind, stage) = case.split_once(' ').unwrap_or_default();
    let (Some(kind), Some(stage)) = (Kind::named(kind), Stage::named(stage)) else { return };
    let batch = Batch::of(kind);
    bencher.with_inputs(|| Work::new(&batch, stage)).bench_values(counted_work);
}

fn cases() -> Vec<String> {
    let stages = |kind: Kind| Stage::ALL.map(|stage| format!("{} {}", kind.name(), stage.name()));
    Kind::ALL.into_iter().flat_map(stages).collect()
}
