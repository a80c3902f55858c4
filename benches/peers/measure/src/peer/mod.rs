//! The peers: how each starts, spawns, joins, yields, sleeps and sends.
//!
//! A workload is written twice: once over [`Stackful`], for those whose tasks are ordinary functions, and once over
//! [`Stackless`], for those that need `async`. So it is the same for all by construction. Everything here is inlined into it. What is
//! not to be had from a peer is `Err` with the reason, which the table shows.

pub mod bare;
mod may;
pub mod ours;
mod smol;
mod threads;
mod tokio;

pub use self::may::May;
pub use self::ours::Ours;
pub use self::smol::Smol;
pub use self::threads::Threads;
pub use self::tokio::Tokio;

use crate::model::Peer;
use std::future::Future;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Why a peer cannot do something.
pub type Lack = String;

/// Tasks that are functions.
pub trait Stackful: Sized + 'static {
    type Handle<T: Send + 'static>: Send + 'static;
    /// Of a given capacity.
    type Bounded: Channel;
    type Unbounded: Channel;
    /// For one message at a time: of capacity 1, where there is one with a capacity.
    type Relay: Channel;
    type Listener: 'static;
    type Stream: Read + Write + Send + 'static;

    /// With that many threads running tasks.
    fn start(workers: usize) -> Result<Self, Lack>;

    /// As it is best for so many tasks that wait.
    fn start_for_many(workers: usize) -> Result<Self, Lack> {
        Self::start(workers)
    }

    /// As it is best for tasks that only compute: if there are several threads, with a processor for each.
    fn start_to_compute(workers: usize) -> Result<Self, Lack> {
        Self::start(workers)
    }

    /// As it is best for a server of so many connections.
    fn start_server(workers: usize, _connections: usize) -> Result<Self, Lack> {
        Self::start(workers)
    }

    /// Runs `f` as a task, and returns what it does.
    fn run<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> T;
    /// Spawns from outside a task that does not start before `run`.
    fn queue(&self, f: impl FnOnce() + Send + 'static) -> Result<(), Lack>;

    fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Self::Handle<T>;
    /// What the task returned; panics if it has panicked.
    fn join<T: Send + 'static>(handle: Self::Handle<T>) -> T;
    fn yield_now();
    fn sleep_until(deadline: Instant);
    /// Bounds any code.
    fn timeout<T>(limit: Duration, f: impl FnOnce() -> T) -> Result<Option<T>, Lack>;

    fn listen() -> io::Result<(Self::Listener, SocketAddr)>;
    fn accept(listener: &Self::Listener) -> io::Result<Self::Stream>;
}

pub trait Channel {
    type Sender: Clone + Send + 'static;
    type Receiver: Send + 'static;
    fn open(capacity: usize) -> Result<(Self::Sender, Self::Receiver), Lack>;
    fn send(sender: &Self::Sender, message: u64);
    /// `None`: all senders are gone.
    fn receive(receiver: &Self::Receiver) -> Option<u64>;
}

/// Tasks that are futures. As [`Stackful`].
pub trait Stackless: Sized + 'static {
    type Handle<T: Send + 'static>: Send + 'static;
    type Bounded: AsyncChannel;
    type Unbounded: AsyncChannel;
    type Listener: Send + 'static;
    type Stream: Send + 'static;

    fn start(peer: Peer, workers: usize) -> Result<Self, Lack>;
    fn start_to_compute(peer: Peer, workers: usize) -> Result<Self, Lack>;
    fn run<T: Send + 'static>(&self, f: impl Future<Output = T> + Send + 'static) -> T;
    fn queue(&self, f: impl Future<Output = ()> + Send + 'static) -> Result<(), Lack>;

    fn spawn<T: Send + 'static>(f: impl Future<Output = T> + Send + 'static) -> Self::Handle<T>;
    fn join<T: Send + 'static>(handle: Self::Handle<T>) -> impl Future<Output = T> + Send;
    /// Lets it go on by itself.
    fn detach<T: Send + 'static>(handle: Self::Handle<T>);
    fn yield_now() -> impl Future<Output = ()> + Send;
    fn sleep_until(deadline: Instant) -> impl Future<Output = ()> + Send;
    fn timeout<T: Send>(
        limit: Duration,
        f: impl Future<Output = T> + Send,
    ) -> impl Future<Output = Option<T>> + Send;

    fn listen() -> impl Future<Output = io::Result<(Self::Listener, SocketAddr)>> + Send;
    fn accept(
        listener: &mut Self::Listener,
    ) -> impl Future<Output = io::Result<Self::Stream>> + Send;
    fn read(
        stream: &mut Self::Stream,
        buf: &mut [u8],
    ) -> impl Future<Output = io::Result<usize>> + Send;
    fn write_all(
        stream: &mut Self::Stream,
        bytes: &[u8],
    ) -> impl Future<Output = io::Result<()>> + Send;
}

pub trait AsyncChannel {
    type Sender: Clone + Send + Sync + 'static;
    type Receiver: Send + 'static;
    fn open(capacity: usize) -> Result<(Self::Sender, Self::Receiver), Lack>;
    fn send(sender: &Self::Sender, message: u64) -> impl Future<Output = ()> + Send;
    fn receive(receiver: &mut Self::Receiver) -> impl Future<Output = Option<u64>> + Send;
}

/// Calls `stackful::<P>(job)`, `stackless::<P>(peer, job)` or what stands for the floor, as the peer is.
macro_rules! dispatch {
    ($peer:expr, $job:expr, $stackful:ident, $stackless:ident, $floor:expr) => {{
        use $crate::model::Peer;
        use $crate::peer::{May, Ours, Smol, Threads, Tokio};
        match $peer {
            Peer::Multitask => $stackful::<Ours>($job),
            Peer::May => $stackful::<May>($job),
            Peer::Threads => $stackful::<Threads>($job),
            Peer::Tokio | Peer::TokioMulti => $stackless::<Tokio>($peer, $job),
            Peer::Smol => $stackless::<Smol>($peer, $job),
            Peer::Floor => $floor,
            Peer::Go | Peer::Hyper => Err("not part of this bench".into()),
        }
    }};
}
pub(crate) use dispatch;

/// For peers that have no such channel.
pub enum NoChannel {}

impl Channel for NoChannel {
    type Sender = ();
    type Receiver = ();

    fn open(_: usize) -> Result<((), ()), Lack> {
        Err("it has no channel with a capacity".into())
    }

    fn send(_: &(), _: u64) {
        unreachable!("it cannot be opened")
    }

    fn receive(_: &()) -> Option<u64> {
        unreachable!("it cannot be opened")
    }
}
