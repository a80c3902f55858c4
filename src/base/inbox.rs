//! A queue into which any thread puts messages for one owner, and the rule of when to ring its bell.
//!
//! 1. Only the owner calls `about_to_sleep` and `awake`. Anybody may `pop`; who but the owner does, throws away.
//! 2. No message is left lying while the owner sleeps unrung. A sender pushes and then looks whether the owner
//!    sleeps; the owner says that it sleeps and then looks whether something was pushed. Both sides have a
//!    sequentially consistent fence between their two steps, so at least one of them sees the other.
//! 3. Of the senders that find the owner asleep exactly one is told to ring.

use super::shared::{fence, AtomicBool, Ordering, SegQueue};

/// See the head of this file.
pub(crate) struct Inbox<M> {
    queue: SegQueue<M>,
    asleep: AtomicBool,
}

impl<M> Inbox<M> {
    pub(crate) const fn new() -> Self {
        Inbox {
            queue: SegQueue::new(),
            asleep: AtomicBool::new(false),
        }
    }

    /// Adds a message; true if the caller must ring the owner's bell.
    #[must_use]
    pub(crate) fn push(&self, message: M) -> bool {
        self.queue.push(message);
        self.must_ring()
    }

    /// For news that is told elsewhere than in a message: true if the caller must ring the owner's bell.
    #[must_use]
    pub(crate) fn must_ring(&self) -> bool {
        // Pairs with the fence in `about_to_sleep`.
        fence(Ordering::SeqCst);
        // Looked at before it is swapped: a running owner's cache line is not taken away from it.
        self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed)
    }

    /// The oldest message.
    pub(crate) fn pop(&self) -> Option<M> {
        self.queue.pop()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Announces that the owner will sleep until its bell rings; false if there is a message, and it must not.
    #[must_use]
    pub(crate) fn about_to_sleep(&self) -> bool {
        self.asleep.store(true, Ordering::Relaxed);
        // Pairs with the fence in `must_ring`.
        fence(Ordering::SeqCst);
        // A sender may act here: it has seen `asleep` and rings, or its message is seen below.
        let sleep = self.queue.is_empty();
        if !sleep {
            self.awake();
        }
        sleep
    }

    /// The owner is up again.
    pub(crate) fn awake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_their_order() {
        let inbox = Inbox::new();
        for n in 0..100 {
            assert!(!inbox.push(n), "nobody sleeps");
        }
        assert_eq!(
            std::iter::from_fn(|| inbox.pop()).collect::<Vec<_>>(),
            (0..100).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_batch_rings_a_sleeping_owner_once() {
        let inbox = Inbox::new();
        assert!(inbox.about_to_sleep());
        assert_eq!((0..100).filter(|&n| inbox.push(n)).count(), 1);
    }

    #[test]
    fn an_owner_with_messages_does_not_sleep_and_is_not_rung() {
        let inbox = Inbox::new();
        assert!(!inbox.push(1));
        assert!(!inbox.about_to_sleep());
        assert!(!inbox.push(2));
    }

    #[test]
    fn an_owner_that_woke_by_itself_is_not_rung() {
        let inbox = Inbox::new();
        assert!(inbox.about_to_sleep());
        inbox.awake();
        assert!(!inbox.push(1));
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
