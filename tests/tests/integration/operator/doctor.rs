//! `events doctor` against servers that are well, and that are not.

use std::process::Output;

use events_harness::servers::redis::RedisServer;

use super::{World, json};

const SCOPE: [(&str, &str); 2] =
    [("DeduplicationScope", "messageGroup"), ("FifoThroughputLimit", "perMessageGroupId")];

impl World {
    fn run(&self, env: &[(&str, &str)]) -> Output {
        self.events(&["doctor", "--json"]).envs(env.iter().copied()).output().unwrap()
    }

    /// What is wrong, and the exit status.
    fn wrong(&self, env: &[(&str, &str)]) -> (Vec<String>, Option<i32>) {
        let output = self.run(env);
        let checks = json(&output);
        let checks = checks.as_array().unwrap().iter();
        let wrong = checks.filter(|check| check["verdict"] == "wrong").map(|check| {
            assert!(check["mend"].as_str().unwrap().len() > 10, "{check}");
            format!("{}: {}", check["what"].as_str().unwrap(), check["found"].as_str().unwrap())
        });
        (wrong.collect(), output.status.code())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_wrong_where_all_is_well_and_nothing_is_left_behind() {
    let world = World::new(&SCOPE).await;
    assert_eq!(world.wrong(&[]), (vec![], Some(0)));
    assert!(world.redis.cmd(&["KEYS", "*"]).await.texts().is_empty());
    assert_eq!(world.sqs.depth(&world.events.url).await, (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_named() {
    let world = World::new(&SCOPE).await;
    let only = |(wrong, status): (Vec<String>, Option<i32>), wanted: &str| {
        assert!(
            status == Some(1) && wrong.len() == 1 && wrong[0].contains(wanted),
            "{wrong:?} is not {wanted}"
        );
    };
    world.redis.cmd(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await;
    only(world.wrong(&[]), "redis policy: allkeys-lru");
    world.redis.cmd(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;

    world.redis.cmd(&["ACL", "SETUSER", "app", "on", ">pw", "~*", "+@all", "-xadd", "-hset", "&*"]).await;
    let as_app = format!("redis://app:pw@127.0.0.1:{}", world.redis.port());
    only(world.wrong(&[("REDIS_URL", &as_app)]), "redis rights: refuses HSET, XADD: denied: redis: NOPERM");
    world.redis.cmd(&["ACL", "SETUSER", "app", "reset", "on", ">pw", "~*", "+@all", "resetchannels"]).await;
    only(world.wrong(&[("REDIS_URL", &as_app)]), "redis channels: may not publish");
    let wrong_password = format!("redis://app:no@127.0.0.1:{}", world.redis.port());
    only(world.wrong(&[("REDIS_URL", &wrong_password)]), "wrong user or password");

    let replica = RedisServer::start().await;
    replica.follow(world.redis.port()).await;
    let (wrong, _) = world.wrong(&[("REDIS_URL", &replica.url())]);
    assert!(wrong.iter().any(|line| line == "redis role: slave"), "{wrong:?}");

    let plain = world.sqs.create_fifo_queue("doctor-plain", &[]).await;
    only(world.wrong(&[("EVENTS_QUEUE_URL", &plain.url)]), "events queue scope");
    let missing = world.events.url.replace(".fifo", "-missing.fifo");
    only(world.wrong(&[("EVENTS_QUEUE_URL", &missing)]), "NonExistentQueue");
    let output = world.run(&[("BATCH_SIZE", "many")]);
    assert!(
        output.status.code() == Some(2) && String::from_utf8_lossy(&output.stderr).contains("BATCH_SIZE")
    );
}
