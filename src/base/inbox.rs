//! A queue into which any thread puts messages for one owner, and the rule of when to ring its bell.
//!
//! 1. Only the owner calls `about_to_sleep` and `awake`. Anybody may `pop`; who but the owner does, throws away.
//! 2. No message is left lying while the owner sleeps unrung. A sender pushes and then looks whether the owner
//!    sleeps; the owner says that it sleeps and then looks whether something was pushed. Both sides have a
//!    sequentially consistent fence between their two steps, so at least one of them sees the other.
//! 3. A sleep is ended by exactly one: a sender that finds the owner asleep, and must ring then, or the owner itself. Who
//!    ends it is told what the owner said as it lay down.

use super::shared::{fence, store_in_turn, AtomicU32, Ordering, SegQueue};

/// See the head of this file.
pub(crate) struct Inbox<M> {
    queue: SegQueue<M>,
    /// What the owner said as it lay down; [`AWAKE`] while it does not sleep.
    asleep: AtomicU32,
}

/// No owner that lies down says this.
pub(crate) const AWAKE: u32 = 0;

impl<M> Inbox<M> {
    pub(crate) const fn new() -> Self {
        Inbox {
            queue: SegQueue::new(),
            asleep: AtomicU32::new(AWAKE),
        }
    }

    /// Adds a message. Unless it answers `AWAKE` the caller has ended the owner's sleep, and must ring its bell.
    #[must_use]
    pub(crate) fn push(&self, message: M) -> u32 {
        self.queue.push(message);
        self.rouse()
    }

    /// As `push`, for news that is told elsewhere than in a message.
    #[must_use]
    pub(crate) fn rouse(&self) -> u32 {
        // Pairs with the fence in `about_to_sleep`.
        fence(Ordering::SeqCst);
        // Looked at before it is swapped: a running owner's cache line is not taken away from it.
        if self.is_asleep() {
            self.awake()
        } else {
            AWAKE
        }
    }

    /// Whether the owner sleeps, as far as can be seen from here.
    pub(crate) fn is_asleep(&self) -> bool {
        self.asleep.load(Ordering::Relaxed) != AWAKE
    }

    /// The oldest message.
    pub(crate) fn pop(&self) -> Option<M> {
        self.queue.pop()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Announces that the owner will sleep until its bell rings; false if there is a message, and it must not, but has to
    /// call `awake`.
    #[must_use]
    pub(crate) fn about_to_sleep(&self, how: u32) -> bool {
        store_in_turn(&self.asleep, how);
        // Pairs with the fence in `rouse`.
        fence(Ordering::SeqCst);
        // A sender may act here: it has seen `asleep` and rings, or its message is seen below.
        self.queue.is_empty()
    }

    /// Ends the owner's sleep; `AWAKE` if somebody else has.
    pub(crate) fn awake(&self) -> u32 {
        self.asleep.swap(AWAKE, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOW: u32 = 7;

    #[test]
    fn messages_keep_their_order() {
        let inbox = Inbox::new();
        for n in 0..100 {
            assert_eq!(inbox.push(n), AWAKE, "nobody sleeps");
        }
        assert_eq!(
            std::iter::from_fn(|| inbox.pop()).collect::<Vec<_>>(),
            (0..100).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_batch_rings_a_sleeping_owner_once() {
        let inbox = Inbox::new();
        assert!(inbox.about_to_sleep(HOW));
        assert_eq!((0..100).filter(|&n| inbox.push(n) == HOW).count(), 1);
        assert_eq!(inbox.awake(), AWAKE);
    }

    #[test]
    fn an_owner_with_messages_does_not_sleep_and_is_not_rung() {
        let inbox = Inbox::new();
        assert_eq!(inbox.push(1), AWAKE);
        assert!(!inbox.about_to_sleep(HOW));
        assert_eq!(inbox.awake(), HOW);
        assert_eq!(inbox.push(2), AWAKE);
    }

    #[test]
    fn an_owner_that_woke_by_itself_is_not_rung() {
        let inbox = Inbox::new();
        assert!(inbox.about_to_sleep(HOW));
        assert_eq!(inbox.awake(), HOW);
        assert_eq!(inbox.push(1), AWAKE);
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;

    impl<M> Inbox<M> {
        /// Makes it known to loom.
        pub(crate) fn make(&self) {
            self.queue.make();
            self.asleep.make();
        }
    }
}
