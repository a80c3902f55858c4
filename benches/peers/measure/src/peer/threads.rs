//! The threads of std.

use super::{Channel, Lack, Stackful};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub struct Threads;
pub struct Bounded;
pub struct Unbounded;

impl Stackful for Threads {
    type Handle<T: Send + 'static> = JoinHandle<T>;
    type Bounded = Bounded;
    type Unbounded = Unbounded;
    type Relay = Bounded;
    type Listener = TcpListener;
    type Stream = TcpStream;

    fn start(_: usize) -> Result<Self, Lack> {
        Ok(Threads)
    }

    fn run<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> T {
        f()
    }

    fn queue(&self, _: impl FnOnce() + Send + 'static) -> Result<(), Lack> {
        Err("a thread starts at once".into())
    }

    fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let small = thread::Builder::new().stack_size(64 << 10);
        small.spawn(f).expect("threads enough")
    }

    fn join<T: Send + 'static>(handle: JoinHandle<T>) -> T {
        handle.join().expect("it does not panic")
    }

    fn yield_now() {
        thread::yield_now();
    }

    fn sleep_until(deadline: Instant) {
        thread::sleep(deadline.saturating_duration_since(Instant::now()));
    }

    fn timeout<T>(_: Duration, _: impl FnOnce() -> T) -> Result<Option<T>, Lack> {
        Err("nothing bounds any code".into())
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
    type Sender = mpsc::SyncSender<u64>;
    type Receiver = mpsc::Receiver<u64>;

    fn open(capacity: usize) -> Result<(Self::Sender, Self::Receiver), Lack> {
        Ok(mpsc::sync_channel(capacity))
    }

    fn send(sender: &Self::Sender, message: u64) {
        sender.send(message).expect("somebody receives");
    }

    fn receive(receiver: &Self::Receiver) -> Option<u64> {
        receiver.recv().ok()
    }
}

impl Channel for Unbounded {
    type Sender = mpsc::Sender<u64>;
    type Receiver = mpsc::Receiver<u64>;

    fn open(_: usize) -> Result<(Self::Sender, Self::Receiver), Lack> {
        Ok(mpsc::channel())
    }

    fn send(sender: &Self::Sender, message: u64) {
        sender.send(message).expect("somebody receives");
    }

    fn receive(receiver: &Self::Receiver) -> Option<u64> {
        receiver.recv().ok()
    }
}
