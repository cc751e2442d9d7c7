//! The invocation in flight, for which a shutdown waits.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;

/// Tracks the invocation in flight.
#[derive(Debug)]
pub struct InFlight {
    /// The request id of that invocation; `None` between invocations.
    request_id: watch::Sender<Option<String>>,
}

impl Default for InFlight {
    fn default() -> Self {
        Self { request_id: watch::Sender::new(None) }
    }
}

/// Marks the invocation as over when dropped. That covers an error, a panic and a cancelled future.
struct EndOnDrop<'a>(&'a InFlight);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.request_id.send_replace(None);
    }
}

impl InFlight {
    /// Runs the work of an invocation, which counts as in flight until the work ends or is dropped.
    pub async fn track<R>(&self, request_id: &str, work: impl Future<Output = R>) -> R {
        self.request_id.send_replace(Some(request_id.to_owned()));
        let _end = EndOnDrop(self);
        work.await
    }

    /// Waits at most `time` until no invocation is in flight. If one is still running, logs it. Returns true if an
    /// invocation ended meanwhile: its response may still be on its way.
    pub async fn wait_until_idle(&self, time: Duration) -> bool {
        let mut current = self.request_id.subscribe();
        let Some(request_id) = current.borrow().clone() else { return false };
        let ended = tokio::time::timeout(time, current.wait_for(Option::is_none)).await.is_ok();
        if !ended {
            tracing::warn!(
                request_id,
                "terminated at work: Lambda ends the process during this invocation; it delivers the records again, and \
                 the metrics of this invocation are lost"
            );
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    const SHORT: Duration = Duration::from_millis(20);

    #[test]
    fn before_and_after_an_invocation_there_is_no_wait() {
        block_on(async {
            let in_flight = InFlight::default();
            assert!(!in_flight.wait_until_idle(SHORT).await);
            in_flight.track("r-1", async {}).await;
            assert!(!in_flight.wait_until_idle(SHORT).await);
        });
    }

    #[test]
    fn the_wait_for_an_invocation_in_flight_is_limited() {
        block_on(async {
            let in_flight = InFlight::default();
            let ends = in_flight.track("r-1", tokio::time::sleep(SHORT));
            let (waited, ()) = tokio::join!(
                async {
                    tokio::task::yield_now().await;
                    in_flight.wait_until_idle(100 * SHORT).await
                },
                ends
            );
            assert!(waited);
            tokio::select! {
                biased;
                () = in_flight.track("r-2", pending()) => unreachable!(),
                ended = in_flight.wait_until_idle(SHORT) => assert!(!ended),
            }
            assert!(!in_flight.wait_until_idle(SHORT).await, "a dropped invocation is over");
        });
    }
}
