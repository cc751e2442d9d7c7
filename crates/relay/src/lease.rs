//! How long this relay may send.

use std::cell::Cell;
use std::time::Duration;

/// A relay that is killed loses its lanes after this time.
pub(crate) const LEASE: Duration = Duration::from_secs(8);
/// How often the lease is moved forward.
pub(crate) const BEAT: Duration = Duration::from_secs(2);

/// The lease of this relay, by its own monotonic clock.
#[derive(Debug, Default)]
pub struct Lease {
    /// When the lease ends; `None` while there is none.
    ends: Cell<Option<Duration>>,
    /// Living relays, as of the last beat.
    relays: Cell<usize>,
    /// Grows when a lease is lost. Lanes that were taken before are lost.
    losses: Cell<u64>,
}

impl Lease {
    /// The lease was granted by a request that began at `began`. The database counts from a later moment, so
    /// this relay stops first.
    pub fn granted(&self, began: Duration, relays: usize) {
        self.ends.set(Some(began + LEASE));
        self.relays.set(relays.max(1));
    }

    /// The lease is lost.
    pub fn lost(&self) {
        self.ends.set(None);
        self.losses.set(self.losses.get() + 1);
    }

    /// The time that is left at `now`; `None` if there is no lease, if it has ended, or if one was lost since there were
    /// `losses`: the lanes of that time are lost, whatever lease there is now.
    pub fn left(&self, now: Duration, losses: u64) -> Option<Duration> {
        if self.losses.get() != losses {
            return None;
        }
        self.ends.get()?.checked_sub(now).filter(|left| !left.is_zero())
    }

    /// True while there is a lease, even if it has ended: the database may not have noticed.
    pub fn is_known(&self) -> bool {
        self.ends.get().is_some()
    }

    /// How often a lease was lost.
    pub fn losses(&self) -> u64 {
        self.losses.get()
    }

    /// Living relays.
    pub fn relays(&self) -> usize {
        self.relays.get().max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_ends_by_the_clock_of_the_relay_counted_from_before_the_request() {
        let (lease, began) = (Lease::default(), Duration::from_secs(100));
        assert_eq!(lease.left(began, 0), None);
        lease.granted(began, 2);
        assert_eq!(lease.left(began + Duration::from_secs(3), 0), Some(LEASE - Duration::from_secs(3)));
        assert_eq!(lease.left(began + LEASE, 0), None);
        assert_eq!((lease.is_known(), lease.relays(), lease.losses()), (true, 2, 0));
        lease.lost();
        assert_eq!((lease.left(began, 0), lease.losses()), (None, 1));
        lease.granted(began, 1);
        assert_eq!((lease.left(began, 0), lease.left(began, 1)), (None, Some(LEASE)));
    }
}
