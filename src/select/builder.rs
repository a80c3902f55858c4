//! [`Select`]: arms of a number known at run time.
//!
//! 1. An arm stays at its index; one that was removed is a moment that never comes.
//! 2. What a chosen arm was given is taken by its [`SelectedOperation`], or goes back when that is dropped.
//!
//! The interface is that of crossbeam-channel's `Select`.

use crate::error::Timeout;
use crate::io::arm::Readiness;
use crate::io::Interest;
use crate::rt::choice::{choose, Arm, Bound, Grant, Moment, Receive, Transmit};
use crate::rt::clock;
use crate::task::arm::Ending;
use crate::task::JoinHandle;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use std::{error, fmt, io};

/// Waits for the first of several things, as many as there are.
///
/// Arms are added once and may be used for any number of selections. Each selection says by an index which arm it was, and the
/// operation is then completed on what that was about, without waiting.
///
/// ```
/// use multitask::{select::Select, sync::mpsc};
///
/// let (senders, receivers): (Vec<_>, Vec<_>) = (0..10).map(|_| mpsc::channel()).unzip();
/// senders[7].send("hello").unwrap();
/// let mut select = Select::new();
/// for receiver in &receivers {
///     select.recv(receiver);
/// }
/// let operation = select.select();
/// let index = operation.index();
/// assert_eq!((index, operation.recv(&receivers[index])), (7, Ok("hello")));
/// ```
///
/// For what holds of the choice, of what is lost (nothing) and of interruption, see [`select!`](crate::select!).
#[derive(Default)]
pub struct Select<'a> {
    arms: Vec<Box<dyn Arm + 'a>>,
}

impl<'a> Select<'a> {
    /// One without arms.
    pub fn new() -> Self {
        Select::default()
    }

    /// Adds receiving from `from`; returns the arm's index, as all these do: they count up from 0.
    ///
    /// When it is selected, complete it by [`SelectedOperation::recv`].
    pub fn recv<R: Receive + ?Sized>(&mut self, from: &'a R) -> usize {
        self.add(from.arm())
    }

    /// Adds sending to `to`. When it is selected, there is room: complete it by [`SelectedOperation::send`], with a value.
    ///
    /// ```
    /// use multitask::{select::Select, sync::mpsc};
    ///
    /// let (full, _receiver) = mpsc::sync_channel(0);
    /// let (sender, receiver) = mpsc::sync_channel(1);
    /// let mut select = Select::new();
    /// select.send(&full);
    /// let room = select.send(&sender);
    /// let operation = select.select();
    /// assert_eq!(operation.index(), room);
    /// operation.send(&sender, "message")?;
    /// assert_eq!(receiver.recv(), Ok("message"));
    /// # full.try_send("of the same type").unwrap_err();
    /// # Ok::<(), mpsc::SendError<&str>>(())
    /// ```
    pub fn send<S: Transmit + ?Sized>(&mut self, to: &'a S) -> usize {
        self.add(to.arm())
    }

    /// Adds waiting until there is something to read from `fd`.
    pub fn readable<F: AsFd + ?Sized>(&mut self, fd: &'a F) -> usize {
        self.add(Readiness::new(fd.as_fd(), Interest::READABLE))
    }

    /// Adds waiting until there is room to write to `fd`.
    pub fn writable<F: AsFd + ?Sized>(&mut self, fd: &'a F) -> usize {
        self.add(Readiness::new(fd.as_fd(), Interest::WRITABLE))
    }

    /// Adds waiting for the end of a task. When it is selected, `handle.join()` does not wait. One waits for a task at a time, so
    /// the handle is borrowed exclusively.
    pub fn join<T>(&mut self, handle: &'a mut JoinHandle<T>) -> usize {
        self.add(Ending::new(handle))
    }

    /// Adds waiting for so long, from now. Once that is over the arm is ready for ever.
    pub fn after(&mut self, duration: Duration) -> usize {
        self.add(Moment(clock::now().checked_add(duration)))
    }

    /// Adds waiting until `moment`. After that the arm is ready for ever.
    pub fn at(&mut self, moment: Instant) -> usize {
        self.add(Moment(Some(moment)))
    }

    fn add(&mut self, arm: impl Arm + 'a) -> usize {
        self.arms.push(Box::new(arm));
        self.arms.len() - 1
    }

    /// Takes an arm out: it is not selected any more. Those of the others keep their indices.
    ///
    /// # Panics
    /// If there never was an arm of that index.
    pub fn remove(&mut self, index: usize) {
        assert!(index < self.arms.len(), "no arm has the index {index}");
        self.arms[index] = Box::new(Moment(None));
    }

    /// Waits until one of the arms can be completed. For ever, if there is none.
    ///
    /// Suspends the calling task while it waits (on a plain thread: blocks it).
    ///
    /// # Panics
    /// On a plain thread, if nothing can ever happen again on the thread's default scheduler.
    pub fn select(&mut self) -> SelectedOperation<'_> {
        let Some(selected) = self.within(Bound::Never) else {
            unreachable!("a wait without limit ends with an arm")
        };
        selected
    }

    /// Selects one of the arms if one can be completed at once.
    ///
    /// # Errors
    /// [`TrySelectError`]: none can.
    ///
    /// ```
    /// use multitask::{select::{Select, TrySelectError}, sync::mpsc};
    ///
    /// let (_sender, receiver) = mpsc::channel::<()>();
    /// let mut select = Select::new();
    /// select.recv(&receiver);
    /// assert_eq!(select.try_select().unwrap_err(), TrySelectError);
    /// ```
    pub fn try_select(&mut self) -> Result<SelectedOperation<'_>, TrySelectError> {
        self.within(Bound::For(Duration::ZERO))
            .ok_or(TrySelectError)
    }

    /// As [`select`](Select::select), for at most `timeout`.
    ///
    /// # Errors
    /// [`Timeout`]: none could be completed in time.
    pub fn select_timeout(&mut self, timeout: Duration) -> Result<SelectedOperation<'_>, Timeout> {
        self.within(Bound::For(timeout)).ok_or(Timeout)
    }

    /// As [`select`](Select::select), until `deadline`.
    ///
    /// # Errors
    /// [`Timeout`]: none could be completed in time.
    pub fn select_deadline(&mut self, deadline: Instant) -> Result<SelectedOperation<'_>, Timeout> {
        self.within(Bound::Until(deadline)).ok_or(Timeout)
    }

    fn within(&mut self, bound: Bound) -> Option<SelectedOperation<'_>> {
        let arms: Vec<&dyn Arm> = self.arms.iter().map(|arm| &**arm as &dyn Arm).collect();
        let index = choose(&arms, bound)?;
        Some(SelectedOperation {
            arm: arms[index],
            index,
        })
    }
}

impl fmt::Debug for Select<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Select")
            .field("arms", &self.arms.len())
            .finish_non_exhaustive()
    }
}

/// An arm that was selected, and can be completed without waiting.
///
/// If it is dropped instead, nothing has happened: a message that it was to receive is received next by whoever comes, room that it
/// was to fill is for others.
#[must_use = "dropping it leaves the operation undone"]
pub struct SelectedOperation<'s> {
    arm: &'s dyn Arm,
    index: usize,
}

impl SelectedOperation<'_> {
    /// Which arm it is: what adding it returned.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Completes a receive arm.
    ///
    /// # Errors
    /// Those of receiving from `from`.
    ///
    /// # Panics
    /// If it was not receiving from `from` that was selected.
    pub fn recv<R: Receive + ?Sized>(self, from: &R) -> R::Output {
        from.received_by(self.arm)
            .expect("receiving from another was selected")
    }

    /// Completes a send arm.
    ///
    /// # Errors
    /// Those of sending to `to`.
    ///
    /// # Panics
    /// If it was not sending to `to` that was selected.
    pub fn send<S: Transmit + ?Sized>(self, to: &S, value: S::Item) -> Result<(), S::Error> {
        to.granted_by(self.arm)
            .expect("sending to another was selected")
            .send(value)
    }

    /// Completes the arm of a descriptor. For others it says `Ok`.
    ///
    /// # Errors
    /// The descriptor could not be waited for: the process is out of descriptors.
    pub fn ready(self) -> io::Result<()> {
        self.arm.outcome()
    }
}

impl Drop for SelectedOperation<'_> {
    fn drop(&mut self) {
        self.arm.undo();
    }
}

impl fmt::Debug for SelectedOperation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SelectedOperation")
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

/// Why [`Select::try_select`] has selected nothing: nothing was ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrySelectError;

impl fmt::Display for TrySelectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing to select from is ready")
    }
}

impl error::Error for TrySelectError {}
