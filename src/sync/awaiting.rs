//! Receiving and sending as futures: what the channels' `_async` calls return.
//!
//! A future is an arm of a wait for several things (see `arms`), with a deputy that stands in line for it. So it stands among those
//! who wait, is served in the order in which they came, and gives back what it was handed and has not taken.
//!
//! 1. Others look at the node that is in an arm, by the channel's lock, and it does not move while it is in a list. What else is
//!    in these futures is their owner's.

use super::arms::{GetterFrom, Putter};
use super::buffer::Buffer;
use super::channel::Channel;
use crate::rt::choice::Grant;
use crate::rt::deputy::Attending;
use std::collections::VecDeque;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{ready, Context, Poll};

pub(super) use super::arms::Closed;

/// Gets one item, from a channel that it borrows or owns a share of.
pub(super) struct Getting<C: Deref<Target = Channel<T, B>>, T, B: Buffer<T>>(
    Attending<GetterFrom<C, T, B>>,
);

// SAFETY: by 1; it shares the channel and owns an item.
unsafe impl<C, T: Send, B: Buffer<T>> Send for Getting<C, T, B> where
    C: Deref<Target = Channel<T, B>> + Send
{
}
// SAFETY: through a shared reference nothing can be done with it.
unsafe impl<C, T: Send, B: Buffer<T>> Sync for Getting<C, T, B> where
    C: Deref<Target = Channel<T, B>>
{
}

impl<C: Deref<Target = Channel<T, B>>, T, B: Buffer<T>> Getting<C, T, B> {
    pub(super) fn from(channel: C) -> Self {
        Getting(Attending::new(GetterFrom::new(channel)))
    }

    pub(super) fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, Closed>> {
        // SAFETY: it is not moved.
        let mut attending = unsafe { self.map_unchecked_mut(|this| &mut this.0) };
        ready!(attending.as_mut().poll(cx));
        Poll::Ready(attending.arm().take())
    }
}

/// Puts one item.
pub(super) struct Putting<'a, T> {
    attending: Attending<Putter<'a, T, VecDeque<T>>>,
    /// Until it was put.
    item: Option<T>,
}

// SAFETY: as for `Getting`. What it was offered it redeems at once, in the same poll, or declines.
unsafe impl<T: Send> Send for Putting<'_, T> {}
// SAFETY: as for `Getting`.
unsafe impl<T: Send> Sync for Putting<'_, T> {}

impl<'a, T> Putting<'a, T> {
    pub(super) fn into(channel: &'a Channel<T>, item: T) -> Self {
        Putting {
            attending: Attending::new(Putter::new(channel)),
            item: Some(item),
        }
    }

    /// Gives the item back if nothing can be put any more.
    ///
    /// # Panics
    /// If it was ready.
    pub(super) fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), T>> {
        // SAFETY: what is not moved is `attending`; the item is in no place of its own.
        let this = unsafe { self.get_unchecked_mut() };
        assert!(this.item.is_some(), "polled after it was ready");
        // SAFETY: as above.
        let mut attending = unsafe { Pin::new_unchecked(&mut this.attending) };
        ready!(attending.as_mut().poll(cx));
        let grant = attending.arm().grant(|item| item);
        let item = this.item.take().expect("it was there");
        Poll::Ready(grant.send(item))
    }
}

/// A future of a channel's: `$closed` makes its error.
macro_rules! gets {
    ($(#[$doc:meta])* $name:ident, $buffer:ty, $error:ty = $closed:expr) => {
        $(#[$doc])*
        #[must_use = "a future does nothing unless it is awaited"]
        pub struct $name<'a, T>(Getting<&'a Channel<T, $buffer>, T, $buffer>);

        impl<T> Future for $name<'_, T> {
            type Output = Result<T, $error>;

            fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
                // SAFETY: it is not moved.
                let got = unsafe { self.map_unchecked_mut(|this| &mut this.0) }.poll(cx);
                got.map(|got| got.map_err(|_closed| $closed))
            }
        }

        impl<T> fmt::Debug for $name<'_, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    };
}

/// As `gets`; `$refuse` makes an error of the item.
macro_rules! puts {
    ($(#[$doc:meta])* $name:ident, $error:ty = $refuse:expr) => {
        $(#[$doc])*
        #[must_use = "a future does nothing unless it is awaited"]
        pub struct $name<'a, T>(Putting<'a, T>);

        impl<T> Future for $name<'_, T> {
            type Output = Result<(), $error>;

            fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
                // SAFETY: it is not moved.
                let put = unsafe { self.map_unchecked_mut(|this| &mut this.0) }.poll(cx);
                put.map(|put| put.map_err($refuse))
            }
        }

        impl<T> fmt::Debug for $name<'_, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    };
}

pub(super) use {gets, puts};
