//! What is set on a descriptor and kept by us: how long its reads and writes may wait, and whether they may wait at all.
//!
//! 1. It belongs to what duplicates of the descriptor have in common, as the mode and the timeouts of a socket do in the kernel: who makes a
//!    duplicate [shares](Settings::share) it.
//! 2. Where nothing was ever set or shared there is nothing in memory but that: of most connections. A server of many would wait for it to be
//!    fetched with each request.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// See the head of this file.
#[derive(Debug, Default)]
pub(crate) struct Settings(OnceLock<Arc<Values>>);

#[derive(Debug)]
struct Values {
    read_timeout: AtomicU64,
    write_timeout: AtomicU64,
    nonblocking: AtomicBool,
}

/// In nanoseconds; no timeout is zero, which std does not allow as a timeout.
const NEVER: u64 = 0;

static UNSET: Values = Values::new();

impl Values {
    const fn new() -> Self {
        Values {
            read_timeout: AtomicU64::new(NEVER),
            write_timeout: AtomicU64::new(NEVER),
            nonblocking: AtomicBool::new(false),
        }
    }
}

impl Settings {
    /// The same settings, for a duplicate.
    pub(crate) fn share(&self) -> Settings {
        Settings(OnceLock::from(self.own().clone()))
    }

    /// Whether another source has them, too.
    pub(super) fn is_shared(&self) -> bool {
        self.0.get().is_some_and(|own| Arc::strong_count(own) > 1)
    }

    pub(crate) fn read_timeout(&self) -> Option<Duration> {
        decode(&self.values().read_timeout)
    }

    pub(crate) fn write_timeout(&self) -> Option<Duration> {
        decode(&self.values().write_timeout)
    }

    pub(crate) fn nonblocking(&self) -> bool {
        self.values().nonblocking.load(Ordering::Relaxed)
    }

    pub(crate) fn set_read_timeout(&self, timeout: Option<Duration>) {
        if timeout != self.read_timeout() {
            encode(&self.own().read_timeout, timeout);
        }
    }

    pub(crate) fn set_write_timeout(&self, timeout: Option<Duration>) {
        if timeout != self.write_timeout() {
            encode(&self.own().write_timeout, timeout);
        }
    }

    pub(crate) fn set_nonblocking(&self, nonblocking: bool) {
        if nonblocking != self.nonblocking() {
            self.own().nonblocking.store(nonblocking, Ordering::Relaxed);
        }
    }

    #[inline]
    fn values(&self) -> &Values {
        self.0.get().map_or(&UNSET, |own| own)
    }

    fn own(&self) -> &Arc<Values> {
        self.0.get_or_init(|| Arc::new(Values::new()))
    }
}

fn decode(timeout: &AtomicU64) -> Option<Duration> {
    let nanoseconds = timeout.load(Ordering::Relaxed);
    (nanoseconds != NEVER).then(|| Duration::from_nanos(nanoseconds))
}

fn encode(to: &AtomicU64, timeout: Option<Duration>) {
    let nanoseconds = timeout.map_or(NEVER, |timeout| {
        u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX)
    });
    to.store(nanoseconds, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Option<Duration> = Some(Duration::from_secs(1));

    #[test]
    fn what_is_set_before_and_after_sharing_is_seen_by_both() {
        let first = Settings::default();
        first.set_read_timeout(SECOND);
        let second = first.share();
        second.set_write_timeout(SECOND);
        second.set_nonblocking(true);
        for settings in [&first, &second] {
            assert_eq!(settings.read_timeout(), SECOND);
            assert_eq!(settings.write_timeout(), SECOND);
            assert!(settings.nonblocking());
        }
        assert!(first.is_shared());
        drop(second);
        assert!(!first.is_shared());
    }

    #[test]
    fn what_is_shared_unset_is_seen_by_both_when_it_is_set() {
        let first = Settings::default();
        let second = first.share();
        first.set_nonblocking(true);
        assert!(second.nonblocking());
        second.set_nonblocking(false);
        assert!(!first.nonblocking());
    }

    #[test]
    fn one_that_sets_nothing_touches_no_others() {
        let (first, second) = (Settings::default(), Settings::default());
        first.set_read_timeout(None);
        first.set_nonblocking(false);
        assert!(first.0.get().is_none());
        first.set_write_timeout(SECOND);
        assert_eq!(second.write_timeout(), None);
        first.set_write_timeout(None);
        assert_eq!(first.write_timeout(), None);
    }

    #[test]
    fn the_longest_timeout_and_the_shortest_are_kept() {
        let settings = Settings::default();
        settings.set_read_timeout(Some(Duration::MAX));
        assert_eq!(
            settings.read_timeout(),
            Some(Duration::from_nanos(u64::MAX))
        );
        settings.set_read_timeout(Some(Duration::from_nanos(1)));
        assert_eq!(settings.read_timeout(), Some(Duration::from_nanos(1)));
    }
}
