//! [`Buffer`]: where a channel keeps what nobody waits for. It locks nothing and knows no waiters.

use std::collections::VecDeque;

/// Items in the order in which they were pushed.
pub trait Buffer<T>: Default {
    fn len(&self) -> usize;

    /// Only while there is room: it is the channel that counts.
    fn push(&mut self, item: T);

    /// As `push`, before all others.
    fn push_first(&mut self, item: T);

    /// Takes out the first.
    fn take_first(&mut self) -> Option<T>;

    /// Takes out the first that is wanted; each is asked about once, in order.
    fn take_wanted(&mut self, wanted: impl Fn(&T) -> bool) -> Option<T>;
}

/// For any number.
impl<T> Buffer<T> for VecDeque<T> {
    #[inline]
    fn len(&self) -> usize {
        VecDeque::len(self)
    }

    #[inline]
    fn push(&mut self, item: T) {
        self.push_back(item);
    }

    fn push_first(&mut self, item: T) {
        self.push_front(item);
    }

    #[inline]
    fn take_first(&mut self) -> Option<T> {
        self.pop_front()
    }

    fn take_wanted(&mut self, wanted: impl Fn(&T) -> bool) -> Option<T> {
        let first = self.iter().position(wanted)?;
        self.remove(first)
    }
}

/// For one: it needs no allocation of its own.
impl<T> Buffer<T> for Option<T> {
    #[inline]
    fn len(&self) -> usize {
        usize::from(self.is_some())
    }

    #[inline]
    fn push(&mut self, item: T) {
        debug_assert!(self.is_none());
        *self = Some(item);
    }

    fn push_first(&mut self, item: T) {
        self.push(item);
    }

    #[inline]
    fn take_first(&mut self) -> Option<T> {
        self.take()
    }

    fn take_wanted(&mut self, wanted: impl Fn(&T) -> bool) -> Option<T> {
        self.take_if(|item| wanted(item))
    }
}
