//! This library.

use super::{Channel, Lack, Stackful};
use multitask::net::{TcpListener, TcpStream};
use multitask::sync::mpmc;
use multitask::{JoinHandle, Scheduler, SchedulerBuilder};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub struct Ours(Scheduler);
pub struct Bounded;
pub struct Unbounded;

/// The one place that knows how a scheduler with several workers is made.
pub fn scheduler(workers: usize) -> Result<Scheduler, Lack> {
    build(Scheduler::builder().workers(workers))
}

fn build(builder: SchedulerBuilder) -> Result<Scheduler, Lack> {
    builder.build().map_err(|error| error.to_string())
}

/// Who has a million tasks asks for small stacks: what differs is the page tables, 104 bytes for each instead of 296.
const SMALL: usize = 32 << 10;

/// A server of one client, who asks again at once: about as long as a round trip takes.
const ROUND_TRIP: Duration = Duration::from_micros(100);

impl Stackful for Ours {
    type Handle<T: Send + 'static> = JoinHandle<T>;
    type Bounded = Bounded;
    type Unbounded = Unbounded;
    type Relay = Bounded;
    type Listener = TcpListener;
    type Stream = TcpStream;

    fn start(workers: usize) -> Result<Self, Lack> {
        scheduler(workers).map(Ours)
    }

    fn start_for_many(workers: usize) -> Result<Self, Lack> {
        let builder = Scheduler::builder().workers(workers);
        build(builder.stack_size(SMALL)).map(Ours)
    }

    fn start_to_compute(workers: usize) -> Result<Self, Lack> {
        let builder = Scheduler::builder().workers(workers);
        build(builder.pin_workers(workers > 1)).map(Ours)
    }

    fn start_server(workers: usize, connections: usize) -> Result<Self, Lack> {
        let builder = Scheduler::builder().workers(workers);
        build(match connections {
            1 => builder.spin(ROUND_TRIP),
            _ => builder,
        })
        .map(Ours)
    }

    fn run<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> T {
        self.0.block_on(f)
    }

    fn queue(&self, f: impl FnOnce() + Send + 'static) -> Result<(), Lack> {
        self.0.spawn(f);
        Ok(())
    }

    #[inline(always)]
    fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        multitask::spawn(f)
    }

    #[inline(always)]
    fn join<T: Send + 'static>(handle: JoinHandle<T>) -> T {
        handle.join().expect("it does not panic")
    }

    #[inline(always)]
    fn yield_now() {
        multitask::yield_now();
    }

    fn sleep_until(deadline: Instant) {
        multitask::sleep_until(deadline);
    }

    #[inline(always)]
    fn timeout<T>(limit: Duration, f: impl FnOnce() -> T) -> Result<Option<T>, Lack> {
        Ok(multitask::timeout(limit, f).ok())
    }

    fn listen() -> io::Result<(TcpListener, SocketAddr)> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let addr = listener.local_addr()?;
        Ok((listener, addr))
    }

    fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
        let (stream, _peer) = listener.accept()?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl Channel for Bounded {
    type Sender = mpmc::Sender<u64>;
    type Receiver = mpmc::Receiver<u64>;

    fn open(capacity: usize) -> Result<(Self::Sender, Self::Receiver), Lack> {
        Ok(mpmc::sync_channel(capacity))
    }

    #[inline(always)]
    fn send(sender: &Self::Sender, message: u64) {
        sender.send(message).expect("somebody receives");
    }

    #[inline(always)]
    fn receive(receiver: &Self::Receiver) -> Option<u64> {
        receiver.recv().ok()
    }
}

impl Channel for Unbounded {
    type Sender = mpmc::Sender<u64>;
    type Receiver = mpmc::Receiver<u64>;

    fn open(_: usize) -> Result<(Self::Sender, Self::Receiver), Lack> {
        Ok(mpmc::channel())
    }

    #[inline(always)]
    fn send(sender: &Self::Sender, message: u64) {
        Bounded::send(sender, message);
    }

    #[inline(always)]
    fn receive(receiver: &Self::Receiver) -> Option<u64> {
        Bounded::receive(receiver)
    }
}
