//! `may`: stackful coroutines that are stolen by any of its threads.

use super::{Channel, Lack, NoChannel, Stackful};
use may::coroutine::{self, JoinHandle};
use may::net::{TcpListener, TcpStream};
use may::sync::mpsc;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub struct May;
pub struct Unbounded;

impl Stackful for May {
    type Handle<T: Send + 'static> = JoinHandle<T>;
    type Bounded = NoChannel;
    type Unbounded = Unbounded;
    // It has no other; with one message at a time nobody waits for room anyway.
    type Relay = Unbounded;
    type Listener = TcpListener;
    type Stream = TcpStream;

    fn start(workers: usize) -> Result<Self, Lack> {
        // As many spare stacks as the largest burst takes.
        may::config().set_workers(workers).set_pool_capacity(10_000);
        Ok(May)
    }

    fn run<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> T {
        Self::join(Self::spawn(f))
    }

    fn queue(&self, _: impl FnOnce() + Send + 'static) -> Result<(), Lack> {
        Err("its tasks start at once".into())
    }

    #[inline(always)]
    fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        // SAFETY: the workloads use no thread-locals, and their frames are shallow.
        unsafe { coroutine::spawn(f) }
    }

    #[inline(always)]
    fn join<T: Send + 'static>(handle: JoinHandle<T>) -> T {
        handle.join().expect("it does not panic")
    }

    #[inline(always)]
    fn yield_now() {
        coroutine::yield_now();
    }

    fn sleep_until(deadline: Instant) {
        coroutine::sleep(deadline.saturating_duration_since(Instant::now()));
    }

    fn timeout<T>(_: Duration, _: impl FnOnce() -> T) -> Result<Option<T>, Lack> {
        Err("it cannot bound any code".into())
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

impl Channel for Unbounded {
    type Sender = mpsc::Sender<u64>;
    type Receiver = mpsc::Receiver<u64>;

    fn open(_: usize) -> Result<(Self::Sender, Self::Receiver), Lack> {
        Ok(mpsc::channel())
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
