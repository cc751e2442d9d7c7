//! The invocation in flight, which a shutdown waits for.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;

/// Knows whether an invocation is in flight.
#[derive(Debug)]
pub struct InFlight {
    /// Its request, if any.
    request_id: watch::Sender<Option<String>>,
}

impl Default for InFlight {
    fn default() -> Self {
        Self { request_id: watch::Sender::new(None) }
    }
}

/// Says that the invocation is over, however it ends.
struct UntilDropped<'a>(&'a InFlight);

impl Drop for UntilDropped<'_> {
    fn drop(&mut self) {
        self.0.request_id.send_replace(None);
    }
}

impl InFlight {
    /// Runs an invocation's work, known to be in flight until it ends.
    pub async fn track<R>(&self, request_id: &str, work: impl Future<Output = R>) -> R {
        self.request_id.send_replace(Some(request_id.to_owned()));
        let _until_it_ends = UntilDropped(self);
        work.await
    }

    /// Waits until no invocation is in flight, and for `time` at most. Says what was lost of one that still is. True when
    /// there was one and it has ended: its answer may still be on its way.
    pub async fn wait_until_idle(&self, time: Duration) -> bool {
        let mut current = self.request_id.subscribe();
        let Some(request_id) = current.borrow().clone() else { return false };
        let ended = tokio::time::timeout(time, current.wait_for(Option::is_none)).await.is_ok();
        if !ended {
            tracing::warn!(request_id, "terminated at work: its records come again, its numbers are lost");
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

    const MOMENT: Duration = Duration::from_millis(20);

    #[test]
    fn there_is_nothing_to_wait_for_before_and_after_an_invocation() {
        block_on(async {
            let in_flight = InFlight::default();
            assert!(!in_flight.wait_until_idle(MOMENT).await);
            in_flight.track("r-1", async {}).await;
            assert!(!in_flight.wait_until_idle(MOMENT).await);
        });
    }

    #[test]
    fn an_invocation_in_flight_is_waited_for_but_not_for_ever() {
        block_on(async {
            let in_flight = InFlight::default();
            let ends = in_flight.track("r-1", tokio::time::sleep(MOMENT));
            let (waited, ()) = tokio::join!(
                async {
                    tokio::task::yield_now().await;
                    in_flight.wait_until_idle(100 * MOMENT).await
                },
                ends
            );
            assert!(waited);
            tokio::select! {
                biased;
                () = in_flight.track("r-2", pending()) => unreachable!(),
                ended = in_flight.wait_until_idle(MOMENT) => assert!(!ended),
            }
            assert!(!in_flight.wait_until_idle(MOMENT).await, "dropped, it is over");
        });
    }
}
