//! Getting from a channel and putting into it as arms of a wait for several things.
//!
//! 1. A node is in `place` from `enlist` to `delist`, and only the channel looks at it meanwhile.
//! 2. What an arm was given and nobody asked for goes back: the item is got next, the offer declined.
//!
//! A putter makes its item only when it is chosen (invariant 6 of `channel`), so that one that is not has lost nothing.

use super::buffer::Buffer;
use super::channel::{Channel, Getting, Offer, Place, Putting, TryMiss};
use crate::rt::choice::{self, Arm, End, Here};
use std::cell::{Cell, UnsafeCell};
use std::ops::Deref;

/// The channel is closed and empty.
#[derive(Clone, Copy)]
pub struct Closed;

/// Gets one item, whichever it is, from a channel that it borrows.
pub type Getter<'a, T, B> = GetterFrom<&'a Channel<T, B>, T, B>;

/// The same from one that it borrows or owns a share of.
pub struct GetterFrom<C: Deref<Target = Channel<T, B>>, T, B: Buffer<T>> {
    channel: C,
    place: Place<Getting<T>>,
    got: Cell<Option<Result<T, Closed>>>,
}

impl<C: Deref<Target = Channel<T, B>>, T, B: Buffer<T>> GetterFrom<C, T, B> {
    pub(super) fn new(channel: C) -> Self {
        GetterFrom {
            channel,
            place: UnsafeCell::new(None),
            got: Cell::new(None),
        }
    }

    /// If it was chosen.
    pub(super) fn take(&self) -> Result<T, Closed> {
        self.got.take().expect("it was chosen, and is asked once")
    }
}

impl<'a, T, B: Buffer<T>> Getter<'a, T, B> {
    /// `arm`, if it gets from `channel`.
    pub(super) fn of<'b>(channel: &'a Channel<T, B>, arm: &'b dyn Arm) -> Option<&'b Self> {
        if arm.end() != end(channel, GETS) {
            return None;
        }
        // SAFETY: by the promise of `Arm`; it borrows the channel, and no other channel is where that one is, so it is of these
        // types.
        Some(unsafe { &*(arm as *const dyn Arm).cast::<Self>() })
    }
}

// SAFETY: each end of a channel has arms of one type: `Getter`, and the next. What owns a share of its channel is no arm of `select!`.
unsafe impl<C: Deref<Target = Channel<T, B>>, T, B: Buffer<T>> Arm for GetterFrom<C, T, B> {
    fn attempt(&self) -> bool {
        let got = match self.channel.attempt_get() {
            Ok(item) => Ok(item),
            Err(TryMiss::Closed) => Err(Closed),
            Err(TryMiss::NotNow) => return false,
        };
        self.got.set(Some(got));
        true
    }

    unsafe fn enlist(&self, here: &Here) -> bool {
        // SAFETY: 1, and the caller's promise.
        unsafe { self.channel.enlist_getter(&self.place, here.waiter) }
    }

    fn delist(&self) -> bool {
        // SAFETY: 1.
        let item = unsafe { self.channel.delist_getter(&self.place) };
        let chosen = item.is_some();
        if let Some(item) = item {
            self.got.set(Some(Ok(item)));
        }
        chosen
    }

    fn undo(&self) {
        if let Some(Ok(item)) = self.got.take() {
            self.channel.restore(item);
        }
    }

    fn end(&self) -> End {
        end(&self.channel, GETS)
    }
}

impl<C: Deref<Target = Channel<T, B>>, T, B: Buffer<T>> Drop for GetterFrom<C, T, B> {
    fn drop(&mut self) {
        self.undo();
    }
}

/// Puts one item, which is made when the arm was chosen.
pub struct Putter<'a, T, B: Buffer<T>> {
    channel: &'a Channel<T, B>,
    place: Place<Putting<T>>,
    offer: Cell<Option<Offer<T>>>,
}

impl<'a, T, B: Buffer<T>> Putter<'a, T, B> {
    pub(super) fn new(channel: &'a Channel<T, B>) -> Self {
        Putter {
            channel,
            place: UnsafeCell::new(None),
            offer: Cell::new(None),
        }
    }

    /// If it was chosen. `refuse` makes the error of an item that it is too late for.
    pub(super) fn grant<E>(&self, refuse: fn(T) -> E) -> Grant<'a, T, B, E> {
        let offer = self.offer.take();
        Grant {
            channel: self.channel,
            offer: Some(offer.expect("it was chosen, and is asked once")),
            refuse,
        }
    }

    /// `arm`, if it puts into `channel`.
    pub(super) fn of<'b>(channel: &'a Channel<T, B>, arm: &'b dyn Arm) -> Option<&'b Self> {
        if arm.end() != end(channel, PUTS) {
            return None;
        }
        // SAFETY: as that of `Getter`.
        Some(unsafe { &*(arm as *const dyn Arm).cast::<Self>() })
    }
}

// SAFETY: as `Getter`.
unsafe impl<T, B: Buffer<T>> Arm for Putter<'_, T, B> {
    fn attempt(&self) -> bool {
        let offer = self.channel.attempt_offer();
        let chosen = offer.is_some();
        self.offer.set(offer);
        chosen
    }

    unsafe fn enlist(&self, here: &Here) -> bool {
        // SAFETY: 1, and the caller's promise.
        unsafe { self.channel.enlist_chooser(&self.place, here.waiter) }
    }

    fn delist(&self) -> bool {
        // SAFETY: 1.
        let offer = unsafe { self.channel.delist_chooser(&self.place) };
        let chosen = offer.is_some();
        self.offer.set(offer);
        chosen
    }

    fn undo(&self) {
        if let Some(offer) = self.offer.take() {
            self.channel.decline(offer);
        }
    }

    fn end(&self) -> End {
        end(self.channel, PUTS)
    }
}

impl<T, B: Buffer<T>> Drop for Putter<'_, T, B> {
    fn drop(&mut self) {
        self.undo();
    }
}

/// The right to put one item; see [`choice::Grant`].
pub struct Grant<'a, T, B: Buffer<T>, E> {
    channel: &'a Channel<T, B>,
    offer: Option<Offer<T>>,
    refuse: fn(T) -> E,
}

impl<T, B: Buffer<T>, E> choice::Grant for Grant<'_, T, B, E> {
    type Item = T;
    type Error = E;

    fn send(mut self, item: T) -> Result<(), E> {
        let offer = self.offer.take().unwrap_or(Offer::Closed);
        self.channel.redeem(offer, item).map_err(self.refuse)
    }
}

impl<T, B: Buffer<T>, E> Drop for Grant<'_, T, B, E> {
    fn drop(&mut self) {
        if let Some(offer) = self.offer.take() {
            self.channel.decline(offer);
        }
    }
}

const GETS: bool = false;
const PUTS: bool = true;

fn end<T, B>(channel: &Channel<T, B>, which: bool) -> End {
    End(Some(((channel as *const Channel<T, B>).cast(), which)))
}

/// Makes a type something to receive from: `$channel` is where its channel is, `$closed` its error.
macro_rules! receives {
    ($type:ty, $buffer:ty, $channel:ident $(. $more:ident)*, $error:ty = $closed:expr) => {
        impl<T> Receive for $type {
            type Output = Result<T, $error>;
            type Arm<'a>
                = Getter<'a, T, $buffer>
            where
                Self: 'a;

            fn arm(&self) -> Self::Arm<'_> {
                Getter::new(&self.$channel $(. $more)*)
            }

            fn received<'a>(&'a self, arm: &Self::Arm<'a>) -> Self::Output {
                arm.take().map_err(|_closed| $closed)
            }

            fn received_by(&self, arm: &dyn Arm) -> Option<Self::Output> {
                Getter::of(&self.$channel $(. $more)*, arm).map(|arm| self.received(arm))
            }
        }
    };
}

/// Makes a type something to send to; `$refuse` makes its error.
macro_rules! transmits {
    ($type:ty, $channel:ident $(. $more:ident)*, $error:ty = $refuse:expr) => {
        impl<T> Transmit for $type {
            type Item = T;
            type Error = $error;
            type Arm<'a>
                = Putter<'a, T, VecDeque<T>>
            where
                Self: 'a;
            type Grant<'a>
                = Grant<'a, T, VecDeque<T>, $error>
            where
                Self: 'a;

            fn arm(&self) -> Self::Arm<'_> {
                Putter::new(&self.$channel $(. $more)*)
            }

            fn granted<'a>(&'a self, arm: &Self::Arm<'a>) -> Self::Grant<'a> {
                arm.grant($refuse)
            }

            fn granted_by<'a>(&'a self, arm: &dyn Arm) -> Option<Self::Grant<'a>> {
                Putter::of(&self.$channel $(. $more)*, arm).map(|arm| arm.grant($refuse))
            }
        }
    };
}

pub(super) use {receives, transmits};
