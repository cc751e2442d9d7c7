//! Waiting for a condition: tests never sleep for a fixed time.

use std::future::Future;
use std::panic::Location;
use std::time::{Duration, Instant};

/// The answer of one look at the condition: `true`, `Some(value)` and `Ok(value)` end the wait.
pub trait Probe {
    /// What the wait returns.
    type Value;
    /// The value when the condition holds, else what to say should this have been the last look.
    fn value(self) -> Result<Self::Value, String>;
}

impl Probe for bool {
    type Value = ();
    fn value(self) -> Result<(), String> {
        if self { Ok(()) } else { Err("still false".into()) }
    }
}

impl<T> Probe for Option<T> {
    type Value = T;
    fn value(self) -> Result<T, String> {
        self.ok_or_else(|| "still None".into())
    }
}

impl<T, E: std::fmt::Display> Probe for Result<T, E> {
    type Value = T;
    fn value(self) -> Result<T, String> {
        self.map_err(|error| error.to_string())
    }
}

/// Looks every few milliseconds until the condition holds, and panics at the caller's line when it does not
/// within `timeout`. A look that hangs counts as a failed one.
#[track_caller]
pub fn eventually<F, Fut>(timeout: Duration, look: F) -> impl Future<Output = <Fut::Output as Probe>::Value>
where
    F: FnMut() -> Fut,
    Fut: Future<Output: Probe>,
{
    let caller = Location::caller();
    async move {
        match within(timeout, look).await {
            Ok(value) => value,
            Err(last) => panic!("{caller}: not within {timeout:?}: {last}"),
        }
    }
}

/// As [`eventually`], but returns the last answer's text instead of panicking.
pub async fn within<F, Fut>(timeout: Duration, mut look: F) -> Result<<Fut::Output as Probe>::Value, String>
where
    F: FnMut() -> Fut,
    Fut: Future<Output: Probe>,
{
    let deadline = Instant::now() + timeout;
    let mut pause = Duration::from_millis(2);
    let mut last = String::from("the first look never ended");
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        match tokio::time::timeout(left, look()).await.map(Probe::value) {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(text)) => last = text,
            Err(_) => return Err(format!("{last} (and the last look hung)")),
        }
        if Instant::now() >= deadline {
            return Err(last);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
