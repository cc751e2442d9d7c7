use super::*;
use crate::destinations::Destinations;
use crate::source::Source;
use crate::test_support::{
    FakeProcessor, FakeQueue, FakeStore, FakeTimer, block_on, created_at, fake_processor, records,
};
use crate::view::View;

type FakeReplay<'a> = Replay<'a, FakeStore, FakeQueue, FakeQueue, FakeTimer>;

fn replay(processor: &FakeProcessor) -> FakeReplay<'_> {
    let nowhere = String::new;
    let destinations = Destinations { store: nowhere(), queue: nowhere(), dead_letter_queue: nowhere() };
    let summary =
        Summary::new("input".to_owned(), 2, destinations, &processor.settings().core, View::default());
    Replay::new(processor, 2, EventLog::default(), Progress::Hidden, Pace::default(), summary)
}

fn never() -> std::future::Pending<StopSignal> {
    std::future::pending()
}

/// Runs a replay of records after which the input stays idle, until an interrupt ends it after `time`.
fn replay_until_interrupt(processor: &FakeProcessor, rows: &str, time: Duration) -> Summary {
    let idle = std::iter::from_fn(|| {
        std::thread::sleep(Duration::from_secs(600));
        None
    });
    let mut replay = replay(processor);
    let stop = block_on(async {
        let feed = read_ahead(records(rows).into_iter().map(Ok).chain(idle)).unwrap();
        let interrupt = async {
            tokio::time::sleep(time).await;
            StopSignal::Interrupt
        };
        replay.run(feed, interrupt).await
    });
    assert!(matches!(stop, Err(Stop::Told(StopSignal::Interrupt))));
    replay.summary
}

#[test]
fn everything_is_replayed_in_batches() {
    let processor = fake_processor();
    let mut replay = replay(&processor);
    let input = records("1=5 2=5 1=6 3=1 2=9").into_iter().map(Ok);
    block_on(replay.run(read_ahead(input).unwrap(), never())).unwrap();
    let summary = &replay.summary;
    assert_eq!((summary.records.total, summary.batches, summary.events.total), (5, 3, 2));
    assert_eq!(summary.ended, "complete");
}

#[test]
fn records_before_an_error_are_replayed() {
    let processor = fake_processor();
    let mut replay = replay(&processor);
    let error = Source::open("no/such/file".as_ref()).unwrap_err();
    let input: Vec<_> = records("1=5 1=6 1=7").into_iter().map(Ok).chain([Err(error)]).collect();
    let stop = block_on(replay.run(read_ahead(input.into_iter()).unwrap(), never())).unwrap_err();
    assert!(matches!(stop, Stop::Input(_)));
    assert_eq!(replay.summary.records.total, 3);
    assert_eq!(replay.summary.ended, "no/such/file: no such file");
}

#[test]
fn an_interrupt_ends_the_replay_while_the_input_is_idle() {
    let summary = replay_until_interrupt(&fake_processor(), "1=5 1=6", Duration::from_millis(200));
    assert_eq!((summary.records.total, summary.ended.as_str()), (2, "interrupted"));
}

#[test]
fn a_batch_that_is_not_full_is_delivered_while_the_input_is_idle() {
    let summary = replay_until_interrupt(&fake_processor(), "1=5", IDLE + Duration::from_millis(500));
    assert_eq!(summary.records.total, 1);
}

#[test]
fn the_replay_ends_when_nothing_can_be_delivered_any_more() {
    let processor = fake_processor();
    processor.store().failing_reads.set(u32::MAX);
    let mut replay = replay(&processor);
    let input = || read_ahead(records("1=1 1=2 1=3 1=4 1=5 1=6 1=7 1=8").into_iter().map(Ok)).unwrap();
    assert!(block_on(replay.run(input(), never())).is_ok(), "not at once");
    assert_eq!((replay.summary.records.given_up, replay.batches_given_up), (8, 4));
    processor.timer().advance(TIME_WITHOUT_DELIVERY);
    let stop = block_on(replay.run(input(), never())).unwrap_err();
    assert!(stop.to_string().contains("nothing could be delivered any more: read: timed out"), "{stop}");
    assert_eq!(replay.summary.records.given_up, 10, "the rest is not even tried");
    processor.store().failing_reads.set(0);
    assert!(block_on(replay.run(input(), never())).is_ok());
    assert_eq!(replay.batches_given_up, 0);
}

#[test]
fn a_paced_replay_waits_as_long_as_between_the_records() {
    let processor = fake_processor();
    let mut replay = replay(&processor);
    replay.pace = Pace::new(Some(2.0));
    let times = [0, 0, 10, 40];
    let input = times.map(|time| Ok(created_at(1_700_000_000 + time)));
    block_on(replay.run(read_ahead(input.into_iter()).unwrap(), never())).unwrap();
    assert_eq!(*processor.timer().pauses.borrow(), [5, 15].map(Duration::from_secs));
    assert_eq!((replay.summary.records.total, replay.summary.batches), (4, 3), "what is due is delivered");
}
