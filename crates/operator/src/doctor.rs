//! Checks settings and services, and says in one line each what is wrong and how to mend it.

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args as ClapArgs;
use events_adapters::aws::check_credentials;
use events_adapters::redis::{RedisProbe, RedisSettings};
use events_adapters::sqs::{self, Connections, SqsReader};
use events_adapters::time::SystemTimer;
use events_core::delivery::KeyStyle;
use events_processor::ports::Timer;
use events_settings::{Poison, ProcessorSettings, is_cluster};
use serde::Serialize;

/// Clocks that differ by more make row ages and deadlines wrong.
const CLOCK_MS: i64 = 2_000;
/// A round trip that takes longer costs each batch twice as much.
const SLOW: Duration = Duration::from_millis(20);
/// The oldest version that is tested.
const OLDEST_MAJOR: u32 = 6;
/// From this share of its memory on, a server is nearly full.
const FULL: f64 = 0.9;

/// The arguments of `events doctor`.
#[derive(Clone, Debug, ClapArgs)]
#[command(after_long_help = AFTER_HELP)]
pub struct Args {
    /// Print the checks as JSON
    #[arg(short, long)]
    pub json: bool,
}

const AFTER_HELP: &str = "\
It reads, and writes one key of its own in Redis (check:doctor) that lives for a second. It sends no message and publishes nothing.

Exit status:
  0  nothing is wrong
  1  something is wrong
  2  the settings are wrong";

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    /// It could not be looked at, or need not be.
    Skipped,
    Wrong,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Check {
    verdict: Verdict,
    what: String,
    /// What was found.
    found: String,
    /// How to mend it; empty if nothing is wrong.
    mend: String,
}

/// All lines.
#[derive(Clone, Debug, Default)]
struct Checks(Vec<Check>);

impl Checks {
    fn add(&mut self, verdict: Verdict, what: &str, found: impl Into<String>, mend: &str) {
        self.0.push(Check { verdict, what: what.to_owned(), found: found.into(), mend: mend.to_owned() });
    }

    /// Adds a check that is fine, or else wrong.
    fn expect(&mut self, is_fine: bool, what: &str, found: impl Into<String>, mend: &str) {
        match is_fine {
            true => self.add(Verdict::Ok, what, found, ""),
            false => self.add(Verdict::Wrong, what, found, mend),
        }
    }

    fn is_fine(&self) -> bool {
        self.0.iter().all(|check| check.verdict != Verdict::Wrong)
    }

    fn text(&self) -> String {
        let line = |Check { verdict, what, found, mend }: &Check| {
            let verdict = match verdict {
                Verdict::Ok => "ok",
                Verdict::Skipped => "-",
                Verdict::Wrong => "WRONG",
            };
            let mend = if mend.is_empty() { String::new() } else { format!("; {mend}") };
            format!("{verdict:<5}  {what:<22}  {found}{mend}\n")
        };
        self.0.iter().map(line).collect()
    }
}

/// Runs the command.
pub async fn run(args: &Args) -> ExitCode {
    let settings = match ProcessorSettings::for_replay() {
        Ok(settings) => settings,
        Err(error) => {
            events_program::say(&format!("events doctor: {error}\n"));
            return ExitCode::from(2);
        }
    };
    let checks = checks(&settings).await;
    let text = if args.json {
        // Texts always serialise.
        serde_json::to_string_pretty(&checks.0).unwrap_or_default() + "\n"
    } else {
        checks.text()
    };
    match std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes()) {
        Ok(()) if checks.is_fine() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

async fn checks(settings: &ProcessorSettings) -> Checks {
    let mut checks = Checks::default();
    checks.add(Verdict::Ok, "settings", "each is one that the processor accepts", "");
    match &settings.redis {
        Some(redis) => check_redis(&mut checks, redis, &settings.processor.core.keys).await,
        None => {
            checks.add(Verdict::Wrong, "redis", "REDIS_URL is not set", "set it to the URL of the deployment")
        }
    }
    let delivery = &settings.delivery;
    let Some(aws) = &settings.sqs else {
        checks.add(Verdict::Skipped, "queues", "no queue is set", "");
        return checks;
    };
    if let Err(error) = check_credentials(aws).await {
        let mend = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE";
        checks.add(Verdict::Wrong, "aws credentials", error.to_string(), mend);
        return checks;
    }
    let connections = sqs::client(aws);
    match &delivery.events_queue_url {
        Some(url) => check_queue(&mut checks, &connections, url, "events queue").await,
        None => checks.add(Verdict::Skipped, "events queue", "EVENTS_QUEUE_URL is not set", ""),
    }
    match (&delivery.events_dlq_url, delivery.poison) {
        (Some(url), _) => check_queue(&mut checks, &connections, url, "dead letter queue").await,
        (None, Poison::Drop) => checks.add(Verdict::Skipped, "dead letter queue", "POISON is drop", ""),
        (None, Poison::Dlq) => {
            checks.add(
                Verdict::Wrong,
                "dead letter queue",
                "EVENTS_DLQ_URL is not set",
                "set it, or POISON=drop",
            );
        }
    }
    checks
}

async fn check_redis(checks: &mut Checks, redis: &RedisSettings, keys: &KeyStyle) {
    let probe = match RedisProbe::new(redis) {
        Ok(probe) => probe,
        Err(error) => {
            return checks.add(Verdict::Wrong, "redis", error.to_string(), "mend REDIS_URL or REDIS_CA_FILE");
        }
    };
    let reached = async { Ok((probe.ping().await?, probe.info().await?, probe.time_ms().await?)) };
    let (took, info, time_ms) = match reached.await {
        Ok(facts) => facts,
        Err(error) => {
            let error: events_processor::ports::PortError = error;
            return checks.add(
                Verdict::Wrong,
                "redis",
                error.to_string(),
                "until it answers, no record is processed",
            );
        }
    };
    let shown = format!("answers in {:.1} ms", took.as_secs_f64() * 1e3);
    checks.expect(took < SLOW, "redis", shown, "run the function, and this tool, near Redis");
    check_facts(checks, &info, is_cluster(&redis.url));
    let skew_ms = SystemTimer::default().now_ms() - time_ms;
    let shown = format!("{skew_ms} ms ahead of that of Redis");
    checks.expect(
        skew_ms.abs() < CLOCK_MS,
        "clock",
        shown,
        "set the clock of this machine, or that of Redis",
    );
    check_rights(checks, &probe, keys).await;
}

/// What `INFO` tells.
fn check_facts(checks: &mut Checks, info: &HashMap<String, String>, is_cluster: bool) {
    let fact = |name: &str| info.get(name).map_or("", String::as_str);
    let version = fact("redis_version");
    let major: u32 = version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0);
    checks.expect(major >= OLDEST_MAJOR, "redis version", version, "use Redis 6.2 or newer, or Valkey");
    let role = fact("role");
    let mend = "name the primary in REDIS_URL: a replica takes no writes";
    checks.expect(role == "master", "redis role", role, mend);
    let has_cluster = fact("cluster_enabled") == "1";
    let mend =
        "a cluster needs redis-cluster:// or rediss-cluster:// in REDIS_URL, and any other server does not";
    checks.expect(has_cluster == is_cluster, "redis cluster", if has_cluster { "yes" } else { "no" }, mend);
    let policy = fact("maxmemory_policy");
    let mend = "set maxmemory-policy to noeviction: an evicted baseline is a change that nobody is told";
    checks.expect(policy == "noeviction", "redis policy", policy, mend);
    let number = |name: &str| fact(name).parse::<f64>().unwrap_or(0.0);
    let (used, most) = (number("used_memory"), number("maxmemory"));
    let share = if most > 0.0 { used / most } else { 0.0 };
    let shown = match most > 0.0 {
        true => format!("{:.0} % of {:.0} MiB", share * 100.0, most / 1_048_576.0),
        false => format!("{:.0} MiB, without a limit", used / 1_048_576.0),
    };
    checks.expect(
        share < FULL,
        "redis memory",
        shown,
        "give it more memory, or shorten EVENT_LOG_MAX_LENGTH",
    );
}

async fn check_rights(checks: &mut Checks, probe: &RedisProbe, keys: &KeyStyle) {
    match probe.refused(&format!("{}check:doctor", keys.prefix)).await {
        Ok(refused) if refused.is_empty() => checks.add(Verdict::Ok, "redis rights", "all commands", ""),
        Ok(refused) => {
            let names: Vec<&str> = refused.iter().map(|(name, _)| *name).collect();
            let reason = refused.first().map(|(_, error)| error.to_string()).unwrap_or_default();
            let found = format!("refuses {}: {reason}", names.join(", "));
            checks.add(
                Verdict::Wrong,
                "redis rights",
                found,
                "give the user these commands, with ACL SETUSER",
            );
        }
        Err(error) => checks.add(Verdict::Wrong, "redis rights", error.to_string(), "run it again"),
    }
    match probe.may_publish("events:tvl").await {
        Some(may) => {
            let mend = "give the user the channels: ACL SETUSER USER &events:*";
            checks.expect(may, "redis channels", if may { "may publish" } else { "may not publish" }, mend);
        }
        None => checks.add(Verdict::Skipped, "redis channels", "the server does not tell", ""),
    }
}

async fn check_queue(checks: &mut Checks, connections: &Connections, url: &str, what: &str) {
    let attributes = match SqsReader::new(connections.clone(), url.to_owned()).attributes().await {
        Ok(attributes) => attributes,
        Err(error) => {
            let mend = "check its URL and region, and the right sqs:GetQueueAttributes";
            return checks.add(Verdict::Wrong, what, error.to_string(), mend);
        }
    };
    let attributes: HashMap<&str, &str> =
        attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let of = |name: &str| attributes.get(name).copied().unwrap_or_default();
    let number = |name: &str| of(name).parse::<u64>().unwrap_or(0);
    let waiting = number("ApproximateNumberOfMessages");
    let mend = "create a FIFO queue: the order of a protocol depends on it";
    let shown = if of("FifoQueue") == "true" {
        format!("FIFO, {waiting} messages")
    } else {
        "no FIFO queue".to_owned()
    };
    checks.expect(of("FifoQueue") == "true", what, shown, mend);
    let scope = (of("DeduplicationScope"), of("FifoThroughputLimit"));
    let mend = "set DeduplicationScope to messageGroup and FifoThroughputLimit to perMessageGroupId: else it takes 300 requests a second";
    let is_high = scope == ("messageGroup", "perMessageGroupId");
    checks.expect(is_high, &format!("{what} scope"), format!("{}, {}", scope.0, scope.1), mend);
    if what == "dead letter queue" {
        let days = number("MessageRetentionPeriod") / 86_400;
        let mend = "set MessageRetentionPeriod to 14 days: a letter that is older is gone";
        checks.expect(days >= 7, &format!("{what} keeps"), format!("{days} days"), mend);
        let mend = "events redrive shows the causes";
        checks.expect(waiting == 0, "dead letters", format!("{waiting}"), mend);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(info: &[(&str, &str)]) -> Vec<(String, Verdict)> {
        let mut checks = Checks::default();
        let info = info.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        check_facts(&mut checks, &info, false);
        checks.0.into_iter().map(|check| (check.what, check.verdict)).collect()
    }

    #[test]
    fn each_fact_that_is_wrong_is_told() {
        let good = [
            ("redis_version", "7.2.4"),
            ("role", "master"),
            ("cluster_enabled", "0"),
            ("maxmemory_policy", "noeviction"),
            ("used_memory", "10"),
            ("maxmemory", "100"),
        ];
        assert!(verdicts(&good).iter().all(|(_, verdict)| *verdict == Verdict::Ok));
        for (name, value, what) in [
            ("redis_version", "5.0.7", "redis version"),
            ("role", "slave", "redis role"),
            ("cluster_enabled", "1", "redis cluster"),
            ("maxmemory_policy", "allkeys-lru", "redis policy"),
            ("used_memory", "95", "redis memory"),
        ] {
            let bad: Vec<_> =
                good.iter().map(|fact| if fact.0 == name { (name, value) } else { *fact }).collect();
            let wrong: Vec<String> = verdicts(&bad)
                .into_iter()
                .filter(|(_, verdict)| *verdict == Verdict::Wrong)
                .map(|(what, _)| what)
                .collect();
            assert_eq!(wrong, [what]);
        }
    }
}
