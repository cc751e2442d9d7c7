//! System calls, bytes and packets of a batch, counted with strace. Noise does not touch these counts.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::measure::{Stage, start_warm};
use crate::subject::{Kind, Subject, folder};
use crate::workload::Batch;
use crate::{Res, proc};

/// The payload of a TCP segment on a network with the usual frames.
const SEGMENT: u64 = 1_448;
const READS: [&str; 6] = ["read", "readv", "recv", "recvfrom", "recvmsg", "recvmmsg"];
const WRITES: [&str; 6] = ["write", "writev", "send", "sendto", "sendmsg", "sendmmsg"];

/// Calls of one kind.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Calls {
    /// The number.
    pub(crate) calls: u64,
    /// The bytes that they moved.
    pub(crate) bytes: u64,
    /// The segments that this many bytes take, each call for itself.
    pub(crate) segments: u64,
}

/// The calls of a window: by what they do, and to what. `all` has every call.
pub(crate) type Counted = BTreeMap<String, Calls>;

/// True if there is a strace that may trace.
pub(crate) fn is_available() -> bool {
    let mut strace = Command::new("strace");
    let run = strace.args(["-o", "/dev/null", "true"]).stdout(Stdio::null()).stderr(Stdio::null());
    run.status().is_ok_and(|status| status.success())
}

/// Runs a function under strace and counts the calls of `batches`.
pub(crate) async fn count(
    stage: &Stage,
    subject: &Subject,
    warm: &[Batch],
    batches: &[Batch],
) -> Res<Counted> {
    let Kind::Lambda(command) = &subject.kind else { return Err("only functions are traced".into()) };
    let path = folder()?.join("strace.txt");
    let options =
        ["strace", "-f", "-yy", "-s", "0", "-ttt", "-o", &*path.to_string_lossy()].map(str::to_owned);
    let traced = options.into_iter().chain(command.iter().cloned()).collect();
    let subject = Subject { name: format!("{} traced", subject.name), kind: Kind::Lambda(traced) };
    let running = start_warm(stage, &subject, &stage.systems(), warm).await?;
    let begin = now();
    for batch in batches {
        running.run(batch).await?;
    }
    let end = now();
    // If strace died first, it would leave the function running.
    for child in proc::children(running.pid()) {
        let _ = Command::new("sh").args(["-c", r#"kill -s KILL "$0""#, &child.to_string()]).status();
    }
    drop(running);
    let ports = [("Redis", stage.redis.port()), ("SQS", stage.sink.port())];
    parse(&path, begin..end, &ports)
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

fn parse(path: &Path, window: std::ops::Range<f64>, ports: &[(&str, u16)]) -> Res<Counted> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut counted = Counted::new();
    let mut unfinished: HashMap<&str, (f64, &str)> = HashMap::new();
    for line in text.lines() {
        let Some((pid, rest)) = line.split_once(' ') else { continue };
        let Some((at, call)) = rest.trim_start().split_once(' ') else { continue };
        let Ok(at) = at.parse::<f64>() else { continue };
        if let Some(begun) = call.strip_suffix(" <unfinished ...>") {
            unfinished.insert(pid, (at, begun));
            continue;
        }
        let (at, begun) = match call.starts_with("<... ") {
            true => unfinished.remove(pid).unwrap_or((at, "")),
            false => (at, call),
        };
        if window.contains(&at) && begun.contains('(') {
            add(&mut counted, begun, result(call), ports);
        }
    }
    Ok(counted)
}

/// What a call returned, if it is a number of 0 or more.
fn result(call: &str) -> Option<u64> {
    call.rsplit_once(" = ")?.1.split_whitespace().next()?.parse().ok()
}

fn add(counted: &mut Counted, call: &str, result: Option<u64>, ports: &[(&str, u16)]) {
    let (name, arguments) = call.split_once('(').unwrap_or((call, ""));
    let bytes = result.unwrap_or(0);
    let end = arguments.find(">, ").or_else(|| arguments.find(">)")).unwrap_or(arguments.len());
    let file = &arguments[..end];
    let to = ports.iter().find(|(_, port)| file.contains(&format!(">127.0.0.1:{port}]")));
    let to = match to {
        Some((name, _)) => name,
        None if file.contains("TCP:") => "Runtime API",
        None if file.starts_with("1<") => "log",
        None => "other",
    };
    let (what, bytes) = match name {
        name if WRITES.contains(&name) => (format!("write {to}"), bytes),
        name if READS.contains(&name) => (format!("read {to}"), bytes),
        "epoll_wait" | "epoll_pwait" => ("wait".to_owned(), 0),
        _ => ("other".to_owned(), 0),
    };
    for key in ["all", &what] {
        let calls = counted.entry(key.to_owned()).or_default();
        calls.calls += 1;
        calls.bytes += bytes;
        calls.segments += bytes.div_ceil(SEGMENT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_apart_by_their_sockets() {
        let mut counted = Counted::new();
        let ports = [("Redis", 6399), ("SQS", 80)];
        for call in [
            "writev(9<TCP:[127.0.0.1:4->127.0.0.1:6399]>, [{iov_base=\"\"..., iov_len=3000}], 1) = 3000",
            "recvfrom(10<TCP:[127.0.0.1:5->127.0.0.1:80]>, \"\"..., 8192, 0, NULL, NULL) = 12",
            "recvfrom(10<TCP:[127.0.0.1:5->127.0.0.1:80]>, 0x1, 8192, 0, NULL, NULL) = -1 EAGAIN (x)",
            "epoll_wait(3<anon_inode:[eventpoll]>, [], 1024, 5) = 0",
        ] {
            add(&mut counted, call, result(call), &ports);
        }
        assert_eq!((counted["write Redis"].bytes, counted["write Redis"].segments), (3_000, 3));
        assert_eq!((counted["read SQS"].calls, counted["read SQS"].bytes), (2, 12));
        assert_eq!((counted["wait"].calls, counted["all"].calls), (1, 4));
    }
}
