//! A key that keeps failing, and a change that can never succeed, hold up nothing else.

use std::time::{Duration, Instant};

use events_harness::faults::fake_sqs::SentMessage;
use events_harness::faults::sqs_faults::SqsFault;
use events_harness::probes::subscriber::Subscriber;
use events_harness::probes::wait::eventually;
use events_harness::relay::RelayProcess;

use super::FaultyWorld;

const SOON: Duration = Duration::from_secs(20);

impl FaultyWorld {
    /// A relay between the servers, and two prices, of which the queue refuses one.
    async fn with_a_refused_key(more: &[(&str, &str)]) -> (Self, RelayProcess) {
        let world = Self::new().await;
        world.database.run("INSERT INTO realtime.prices VALUES ('bad', 1), ('good', 1)").await;
        let mut relay = world.relay(more);
        relay.holds(16).await;
        let events_url = world.sqs.events_url();
        world.sqs.choose_faults(move |request| {
            (request.queue_url == events_url).then(|| SqsFault::refuse_group("token:bad"))
        });
        (world, relay)
    }

    async fn set_price(&self, token: &str, price: usize) {
        self.database
            .run(&format!("UPDATE realtime.prices SET price = {price} WHERE token_id = '{token}'"))
            .await;
    }

    async fn waits_for_aside(&self, changes: i64) {
        let aside = || async { self.database.number("SELECT count(*) FROM realtime.aside").await };
        eventually(SOON, || async {
            let found = aside().await;
            if found == changes { Ok(()) } else { Err(format!("{found} changes are set aside")) }
        })
        .await;
    }
}

fn prices(messages: &[SentMessage]) -> Vec<f64> {
    messages.iter().map(|message| message.json()["data"]["currentPrice"].as_f64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_queue_refuses_is_set_aside_and_delivered_in_order_later() {
    let (world, relay) = FaultyWorld::with_a_refused_key(&[]).await;
    let subscriber = Subscriber::psubscribe(&world.redis.url(), "events:token:*").await;
    world.set_price("bad", 2).await;
    world.set_price("good", 2).await;
    world.waits_for_aside(1).await;
    let mut latencies = Vec::new();
    for price in 3..=22 {
        if price % 5 == 0 {
            world.set_price("bad", price).await;
        }
        let began = Instant::now();
        world.set_price("good", price).await;
        eventually(SOON, || async { subscriber.payloads("events:token:good").len() == price - 1 }).await;
        latencies.push(began.elapsed());
    }
    latencies.sort();
    println!("latencies of the others: median {:?}, longest {:?}", latencies[10], latencies[19]);
    assert!(
        latencies[10] < Duration::from_secs(1) && latencies[19] < Duration::from_secs(5),
        "{latencies:?}"
    );
    world.waits_for_aside(5).await;
    let aside = "SELECT string_agg((body ->> 'value') || ' ' || (reason LIKE '%earlier change%'), ', ' ORDER BY version) FROM realtime.aside";
    assert_eq!(world.database.text(aside).await, "2 false, 5 true, 10 true, 15 true, 20 true");
    eventually(SOON, || async { relay.metric("relay_aside_changes").await == Some(5.0) }).await;
    assert_eq!(world.sqs.accepted_in_group("token:bad").len(), 0);

    world.sqs.heal();
    world.waits_for_aside(0).await;
    world.set_price("bad", 21).await;
    eventually(SOON, || async { world.sqs.accepted_in_group("token:bad").len() == 6 }).await;
    assert_eq!(prices(&world.sqs.accepted_in_group("token:bad")), [2.0, 5.0, 10.0, 15.0, 20.0, 21.0]);
    eventually(SOON, || async { subscriber.payloads("events:token:bad").len() == 6 }).await;
    eventually(SOON, || async { relay.metric("relay_aside_changes").await == Some(0.0) }).await;
    assert_eq!(prices(&world.sqs.accepted_in_group("token:good")).len(), 21);
    assert!(world.sqs.dead_letters().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_refused_for_too_long_becomes_dead_letters() {
    let (world, relay) = FaultyWorld::with_a_refused_key(&[("KEY_FAILURE_MAX_AGE_SECS", "3")]).await;
    for price in 2..=4 {
        world.set_price("bad", price).await;
        world.set_price("good", price).await;
    }
    // A refusal is one of the key only if the queue takes others after it.
    eventually(SOON, || async {
        world.database.run("UPDATE realtime.prices SET price = price + 1 WHERE token_id = 'good'").await;
        world.sqs.dead_letters().len() == 3
    })
    .await;
    world.waits_for_aside(0).await;
    let letters = world.sqs.dead_letters();
    let values: Vec<_> =
        letters.iter().map(|letter| letter.json()["event"]["data"]["currentPrice"].as_f64()).collect();
    assert_eq!(values, [2.0, 3.0, 4.0].map(Some), "{letters:#?}");
    // The key is not lost for ever.
    world.sqs.heal();
    world.set_price("bad", 5).await;
    eventually(SOON, || async { world.sqs.accepted_in_group("token:bad").len() == 4 }).await;
    assert_eq!(relay.metric("relay_dead_letters_total").await, Some(3.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_can_never_succeed_is_a_dead_letter_and_holds_up_nothing() {
    let world = FaultyWorld::new().await;
    world.database.run("INSERT INTO realtime.prices VALUES ('good', 1)").await;
    let mut relay = world.relay(&[]);
    relay.holds(16).await;
    world
        .database
        .run(
            "INSERT INTO realtime.outbox (slot, lane, kind, id, version, at, created, silent, body)
             SELECT active, realtime.lane('price', 'good'), 'price', 'good', 1, 7, 8, false, '{\"value\": \"much\"}'
             FROM realtime.outbox_state;
             UPDATE realtime.prices SET price = 2",
        )
        .await;
    eventually(SOON, || async { world.sqs.events().len() == 1 && world.sqs.dead_letters().len() == 1 }).await;
    let letter = &world.sqs.dead_letters()[0].json();
    let entry = &letter["record"]["postgres"];
    assert_eq!(
        (&entry["kind"], &entry["id"], &entry["version"]),
        (&"price".into(), &"good".into(), &1.into()),
        "{letter}"
    );
    assert_eq!(
        (&entry["at"], &entry["created"], &entry["body"]),
        (&7.into(), &8.into(), &"{\"value\": \"much\"}".into())
    );
    world.waits_for_aside(0).await;
}
