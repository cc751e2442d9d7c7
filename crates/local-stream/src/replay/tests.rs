use super::*;
use crate::destinations::Destinations;
use crate::source::Source;
use crate::test_support::{FakeProcessor, FakeQueue, FakeStore, FakeTimer, block_on, records, world};

type FakeReplay<'a> = Replay<'a, FakeStore, FakeQueue, FakeQueue, FakeTimer>;

fn replay(world: &FakeProcessor) -> FakeReplay<'_> {
    let nowhere = String::new;
    let places = Destinations { store: nowhere(), queue: nowhere(), dead_letter_queue: nowhere() };
    let summary = Summary::new("input".to_owned(), 2, places);
    Replay::new(world, 2, EventLog::default(), Progress::Hidden, summary)
}

fn never() -> std::future::Pending<()> {
    std::future::pending()
}

#[test]
fn everything_is_replayed_in_batches() {
    let world = world();
    let mut replay = replay(&world);
    let input = records("1=5 2=5 1=6 3=1 2=9").into_iter().map(Ok);
    block_on(replay.run(feed(input).unwrap(), never())).unwrap();
    let summary = &replay.summary;
    assert_eq!((summary.records.total, summary.batches, summary.events.total), (5, 3, 2));
    assert_eq!(summary.ended, "complete");
}

#[test]
fn what_came_before_an_error_is_replayed() {
    let world = world();
    let mut replay = replay(&world);
    let fault = Source::open("no/such/file".as_ref()).unwrap_err();
    let input: Vec<_> = records("1=5 1=6 1=7").into_iter().map(Ok).chain([Err(fault)]).collect();
    let stop = block_on(replay.run(feed(input.into_iter()).unwrap(), never())).unwrap_err();
    assert!(matches!(stop, Stop::Input(_)));
    assert_eq!(replay.summary.records.total, 3);
    assert_eq!(replay.summary.ended, "no/such/file: no such file");
}

#[test]
fn an_interrupt_ends_it_while_the_input_is_silent() {
    let world = world();
    let mut replay = replay(&world);
    let silent = std::iter::from_fn(|| {
        std::thread::sleep(Duration::from_secs(600));
        None
    });
    let interrupt = tokio::time::sleep;
    let stop = block_on(async {
        let feed = feed(records("1=5 1=6").into_iter().map(Ok).chain(silent)).unwrap();
        replay.run(feed, interrupt(Duration::from_millis(200))).await
    });
    assert!(matches!(stop, Err(Stop::Interrupted)));
    assert_eq!((replay.summary.records.total, replay.summary.ended.as_str()), (2, "interrupted"));
}

#[test]
fn a_batch_that_is_not_full_goes_out_when_nothing_more_comes() {
    let world = world();
    let mut replay = replay(&world);
    let silent = std::iter::from_fn(|| {
        std::thread::sleep(Duration::from_secs(600));
        None
    });
    let stop = block_on(async {
        let feed = feed(records("1=5").into_iter().map(Ok).chain(silent)).unwrap();
        replay.run(feed, tokio::time::sleep(IDLE + Duration::from_millis(500))).await
    });
    assert!(matches!(stop, Err(Stop::Interrupted)));
    assert_eq!(replay.summary.records.total, 1);
}

#[test]
fn it_ends_when_nothing_can_be_delivered_any_more() {
    let world = world();
    world.store().failing_reads.set(u32::MAX);
    let mut replay = replay(&world);
    let input = || feed(records("1=1 1=2 1=3 1=4 1=5 1=6 1=7 1=8").into_iter().map(Ok)).unwrap();
    assert!(block_on(replay.run(input(), never())).is_ok(), "not at once");
    assert_eq!((replay.summary.records.given_up, replay.last_done.1), (8, 4));
    world.timer().pass(TIME_WITHOUT_DELIVERY);
    let stop = block_on(replay.run(input(), never())).unwrap_err();
    assert!(stop.to_string().contains("nothing could be delivered any more: read: timed out"), "{stop}");
    assert_eq!(replay.summary.records.given_up, 10, "the rest is not even tried");
    world.store().failing_reads.set(0);
    assert!(block_on(replay.run(input(), never())).is_ok());
    assert_eq!(replay.last_done.1, 0);
}
