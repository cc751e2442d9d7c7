//! Follows the log of all events.

use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use events_core::delivery::{LogPage, Position};
use events_processor::ports::ErrorKind;

use crate::clock::now_ms;
use crate::gateway::Gateway;
use crate::hub::LogEvent;
use crate::source::EventSource;
use crate::stats::arrived;

/// Most entries of one read.
const PAGE: usize = 500;
/// Pause before the log is read again after an error.
const PAUSE: Duration = Duration::from_millis(100);
/// Pause before slugs are read again after an error. They are many, and events tell the important ones.
const SLUGS_PAUSE: Duration = Duration::from_secs(5);

/// Learns the slugs of all protocols, once, and follows the log.
pub async fn follow<S: EventSource>(gateway: &Rc<Gateway<S>>, source: &S) -> Infallible {
    // Side by side: Redis may have many keys, and no client waits for them.
    let ((), never) = tokio::join!(learn_slugs(gateway, source), follow_log(gateway, source));
    never
}

async fn learn_slugs<S: EventSource>(gateway: &Gateway<S>, source: &S) {
    loop {
        match source.slugs(&gateway.settings.keys).await {
            Ok(slugs) => {
                tracing::info!(slugs = slugs.len(), "the slugs of protocols are known");
                let mut hub = gateway.hub.borrow_mut();
                slugs.into_iter().for_each(|(slug, id)| hub.name(slug, id));
                return;
            }
            Err(error) => {
                tracing::debug!(%error, "the slugs of protocols cannot be read; it is tried again");
                tokio::time::sleep(SLUGS_PAUSE).await;
            }
        }
    }
}

/// Reads the log into the hub, for ever: first what it has, then each new entry.
async fn follow_log<S: EventSource>(gateway: &Rc<Gateway<S>>, source: &S) -> Infallible {
    let stats = &gateway.stats;
    stats.read_ms.set(now_ms());
    // The state of Redis when it was logged last.
    let mut logged = None;
    loop {
        let after = gateway.hub.borrow().newest();
        let read = async {
            if stats.following.get() {
                source.wait(after).await?;
            }
            source.page(after, PAGE).await
        };
        let read = read.await;
        stats.redis.set(read.is_ok());
        let is_denied = matches!(&read, Err(error) if error.kind == ErrorKind::Denied);
        stats.denied.set(is_denied && gateway.begun.get());
        let is_news = logged.replace(read.is_ok()) != Some(read.is_ok());
        match read {
            Ok(page) => {
                if is_news {
                    tracing::info!(newest = %page.newest, "the log of events is read");
                }
                stats.read_ms.set(now_ms());
                take(gateway, page, after);
                gateway.advanced.notify_waiters();
                // Let connections send before the next page.
                tokio::task::yield_now().await;
            }
            Err(error) => {
                if is_news {
                    tracing::warn!(%error, "the log of events cannot be read; it is tried again");
                }
                stats.following.set(false);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn take<S: EventSource>(gateway: &Gateway<S>, page: LogPage, after: Position) {
    let Gateway { hub, stats, .. } = gateway;
    let mut hub = hub.borrow_mut();
    let begins = !gateway.begun.replace(true);
    let lost = if begins { None } else { lost(&page, after, hub.ends_with_event()) };
    if lost.is_some() || begins {
        let reason = lost.unwrap_or("the gateway has just begun");
        if !begins {
            tracing::warn!(%after, newest = %page.newest, reason, "connections lose their place in the log");
        }
        // The entries of this page may begin too late: read again from here.
        hub.reset(floor(&page), !page.trimmed, reason);
        stats.following.set(false);
        gateway.loaded.set(false);
        return;
    }
    let now = now_ms();
    let at_end = page.entries.len() < PAGE;
    for entry in page.entries {
        if stats.following.get() {
            arrived(entry.position, now);
        }
        match LogEvent::read(&entry) {
            Ok(event) => hub.append(event),
            Err(problem) => {
                stats.unreadable.add(1);
                tracing::warn!(position = %entry.position, problem, "an entry of the log is no event; it is skipped");
                hub.skip(entry.position);
            }
        }
    }
    if at_end {
        // Entries that were deleted leave no trace but this.
        hub.skip(page.newest);
        stats.following.set(true);
        gateway.loaded.set(true);
    }
}

/// Why entries after a position may be missing in a page, if they may. `is_event`: there was an entry at that position.
fn lost(page: &LogPage, after: Position, is_event: bool) -> Option<&'static str> {
    // A log that has given up no entry has all of them.
    let has_all = after == Position::START && !page.trimmed;
    if page.newest < after {
        // It was deleted, or a server has taken over that lacks its end.
        Some("the log has begun anew")
    } else if page.newest > after && floor(page) > after && !has_all {
        Some("the log was trimmed while the gateway did not read it")
    } else if is_event && !page.has_after && page.oldest.is_some_and(|oldest| oldest <= after) {
        // A server has taken over that lacks its end, and has new entries: with a clock that is behind, they may lie before it.
        Some("the log has another end than before")
    } else {
        None
    }
}

/// All entries after this position are in the log.
fn floor(page: &LogPage) -> Position {
    page.oldest.map_or(page.newest, Position::before)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(oldest: Option<&str>, newest: &str, trimmed: bool) -> LogPage {
        let position = |text: &str| text.parse().unwrap();
        let has_after = false;
        LogPage {
            oldest: oldest.map(position),
            newest: position(newest),
            has_after,
            trimmed,
            entries: vec![],
        }
    }

    #[test]
    fn a_place_is_lost_only_where_entries_may_be_missing() {
        let lost = |oldest, newest, after: &str| {
            lost(&page(oldest, newest, true), after.parse().unwrap(), false).is_some()
        };
        // Nothing was trimmed after the position.
        assert!(!lost(Some("5-0"), "9-0", "5-0"));
        assert!(!lost(Some("5-0"), "9-0", "9-0"));
        assert!(!lost(Some("5-1"), "9-0", "5-0"));
        assert!(!lost(None, "0-0", "0-0"));
        // All entries were deleted; the log still knows its newest position.
        assert!(!lost(None, "9-0", "9-0"));
        assert!(lost(None, "9-0", "8-0"));
        assert!(lost(Some("5-0"), "9-0", "4-0"));
        assert!(lost(Some("5-0"), "6-0", "9-0"), "the server has less than before");
        assert!(lost(None, "0-0", "9-0"), "the log was deleted");
    }

    #[test]
    fn a_log_that_had_been_empty_has_all_its_entries_unless_it_was_trimmed() {
        let lost = |trimmed| lost(&page(Some("5-0"), "9-0", trimmed), Position::START, false).is_some();
        assert_eq!((lost(false), lost(true)), (false, true));
    }

    /// The new primary lacked the end of the log, and its clock is behind: it has entries before and after that end.
    #[test]
    fn a_log_without_the_last_event_is_another_log() {
        let lost = |has_after, is_event| {
            let page = LogPage { has_after, ..page(Some("900-0"), "1100-0", false) };
            lost(&page, "1000-0".parse().unwrap(), is_event).is_some()
        };
        assert!(lost(false, true));
        assert!(!lost(true, true));
        assert!(!lost(false, false), "there was no entry at the position");
    }

    #[test]
    fn the_floor_is_just_before_the_oldest_entry() {
        assert_eq!(floor(&page(Some("5-3"), "9-0", true)), "5-2".parse().unwrap());
        assert_eq!(floor(&page(Some("5-0"), "9-0", true)), Position { ms: 4, number: u64::MAX });
        assert_eq!(floor(&page(None, "9-0", true)), "9-0".parse().unwrap());
    }
}
