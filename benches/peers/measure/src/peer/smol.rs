//! `smol`, on the static executor, which is its quickest.

use super::{AsyncChannel, Lack, Stackless};
use crate::model::Peer;
use crate::process::pin_to_next;
use async_executor::StaticExecutor;
use smol::channel;
use smol::future::{self, FutureExt};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream};
use smol::{Task, Timer};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::thread;
use std::time::{Duration, Instant};

static EXECUTOR: StaticExecutor = StaticExecutor::new();

pub struct Smol;
pub struct Bounded;
pub struct Unbounded;

impl Stackless for Smol {
    type Handle<T: Send + 'static> = Task<thread::Result<T>>;
    type Bounded = Bounded;
    type Unbounded = Unbounded;
    type Listener = TcpListener;
    type Stream = TcpStream;

    fn start(_: Peer, workers: usize) -> Result<Self, Lack> {
        start(workers, || ());
        Ok(Smol)
    }

    fn start_to_compute(_: Peer, workers: usize) -> Result<Self, Lack> {
        if workers > 1 {
            // The calling thread is one of them.
            pin_to_next();
            start(workers, pin_to_next);
        }
        Ok(Smol)
    }

    fn run<T: Send + 'static>(&self, f: impl Future<Output = T> + Send + 'static) -> T {
        smol::block_on(EXECUTOR.run(Self::join(Self::spawn(f))))
    }

    fn queue(&self, f: impl Future<Output = ()> + Send + 'static) -> Result<(), Lack> {
        EXECUTOR.spawn(f).detach();
        Ok(())
    }

    // Its tasks do not catch panics by themselves, so that is asked for.
    fn spawn<T: Send + 'static>(f: impl Future<Output = T> + Send + 'static) -> Self::Handle<T> {
        EXECUTOR.spawn(AssertUnwindSafe(f).catch_unwind())
    }

    async fn join<T: Send + 'static>(handle: Self::Handle<T>) -> T {
        handle.await.expect("it does not panic")
    }

    fn detach<T: Send + 'static>(handle: Self::Handle<T>) {
        handle.detach();
    }

    async fn yield_now() {
        future::yield_now().await;
    }

    async fn sleep_until(deadline: Instant) {
        Timer::at(deadline).await;
    }

    async fn timeout<T: Send>(limit: Duration, f: impl Future<Output = T> + Send) -> Option<T> {
        let late = async {
            Timer::after(limit).await;
            None
        };
        future::or(async { Some(f.await) }, late).await
    }

    async fn listen() -> io::Result<(TcpListener, SocketAddr)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        Ok((listener, addr))
    }

    async fn accept(listener: &mut TcpListener) -> io::Result<TcpStream> {
        let (stream, _peer) = listener.accept().await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn read(stream: &mut TcpStream, buf: &mut [u8]) -> io::Result<usize> {
        stream.read(buf).await
    }

    async fn write_all(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
        stream.write_all(bytes).await
    }
}

fn start(workers: usize, at_start: fn()) {
    for _ in 1..workers {
        thread::spawn(move || {
            at_start();
            smol::block_on(EXECUTOR.run(future::pending::<()>()))
        });
    }
}

impl AsyncChannel for Bounded {
    type Sender = channel::Sender<u64>;
    type Receiver = channel::Receiver<u64>;

    fn open(capacity: usize) -> Result<(Self::Sender, Self::Receiver), Lack> {
        Ok(channel::bounded(capacity))
    }

    async fn send(sender: &Self::Sender, message: u64) {
        sender.send(message).await.expect("somebody receives");
    }

    async fn receive(receiver: &mut Self::Receiver) -> Option<u64> {
        receiver.recv().await.ok()
    }
}

impl AsyncChannel for Unbounded {
    type Sender = channel::Sender<u64>;
    type Receiver = channel::Receiver<u64>;

    fn open(_: usize) -> Result<(Self::Sender, Self::Receiver), Lack> {
        Ok(channel::unbounded())
    }

    async fn send(sender: &Self::Sender, message: u64) {
        Bounded::send(sender, message).await;
    }

    async fn receive(receiver: &mut Self::Receiver) -> Option<u64> {
        Bounded::receive(receiver).await
    }
}
