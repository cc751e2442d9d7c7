//! Waits until a condition holds, so that tests need no fixed sleeps.

use std::future::Future;
use std::panic::Location;
use std::time::{Duration, Instant};

/// The result of one check of the condition. `true`, `Some(value)` and `Ok(value)` end the wait.
pub trait Check {
    /// The value that the wait returns.
    type Value;
    /// The value if the condition holds, otherwise why it does not, for the error message.
    fn value(self) -> Result<Self::Value, String>;
}

impl Check for bool {
    type Value = ();
    fn value(self) -> Result<(), String> {
        if self { Ok(()) } else { Err("still false".into()) }
    }
}

impl<T> Check for Option<T> {
    type Value = T;
    fn value(self) -> Result<T, String> {
        self.ok_or_else(|| "still None".into())
    }
}

impl<T, E: std::fmt::Display> Check for Result<T, E> {
    type Value = T;
    fn value(self) -> Result<T, String> {
        self.map_err(|error| error.to_string())
    }
}

/// Checks every few milliseconds until the condition holds. Panics at the caller's line if it does not hold within
/// `timeout`. A check that hangs counts as failed.
#[track_caller]
pub fn eventually<F, Fut>(timeout: Duration, check: F) -> impl Future<Output = <Fut::Output as Check>::Value>
where
    F: FnMut() -> Fut,
    Fut: Future<Output: Check>,
{
    let caller = Location::caller();
    async move {
        match within(timeout, check).await {
            Ok(value) => value,
            Err(last) => panic!("the condition at {caller} did not hold within {timeout:?}: {last}"),
        }
    }
}

/// Like [`eventually`], but returns the reason of the last failed check instead of panicking.
pub async fn within<F, Fut>(timeout: Duration, mut check: F) -> Result<<Fut::Output as Check>::Value, String>
where
    F: FnMut() -> Fut,
    Fut: Future<Output: Check>,
{
    let deadline = Instant::now() + timeout;
    let mut pause = Duration::from_millis(2);
    let mut last = String::from("the first check did not end");
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        match tokio::time::timeout(left, check()).await.map(Check::value) {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(text)) => last = text,
            Err(_) => return Err(format!("{last} (and the last check did not end)")),
        }
        if Instant::now() >= deadline {
            return Err(last);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
