//! `tokio`, in both its flavours.

use super::{AsyncChannel, Lack, Stackless};
use crate::model::Peer;
use crate::process::pin_to_next;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub struct Tokio {
    runtime: Runtime,
    multi: bool,
}

pub struct Bounded;
pub struct Unbounded;

impl Stackless for Tokio {
    type Handle<T: Send + 'static> = JoinHandle<T>;
    type Bounded = Bounded;
    type Unbounded = Unbounded;
    type Listener = TcpListener;
    type Stream = TcpStream;

    fn start(peer: Peer, workers: usize) -> Result<Self, Lack> {
        start(peer, workers, || ())
    }

    fn start_to_compute(peer: Peer, workers: usize) -> Result<Self, Lack> {
        match workers {
            1 => Self::start(peer, 1),
            _ => start(peer, workers, pin_to_next),
        }
    }

    fn run<T: Send + 'static>(&self, f: impl Future<Output = T> + Send + 'static) -> T {
        let task = self.runtime.spawn(f);
        self.runtime.block_on(task).expect("it does not panic")
    }

    fn queue(&self, f: impl Future<Output = ()> + Send + 'static) -> Result<(), Lack> {
        if self.multi {
            return Err("its tasks start at once".into());
        }
        self.runtime.spawn(f);
        Ok(())
    }

    fn spawn<T: Send + 'static>(f: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        tokio::spawn(f)
    }

    async fn join<T: Send + 'static>(handle: JoinHandle<T>) -> T {
        handle.await.expect("it does not panic")
    }

    fn detach<T: Send + 'static>(handle: JoinHandle<T>) {
        drop(handle);
    }

    async fn yield_now() {
        tokio::task::yield_now().await;
    }

    async fn sleep_until(deadline: Instant) {
        tokio::time::sleep_until(deadline.into()).await;
    }

    async fn timeout<T: Send>(limit: Duration, f: impl Future<Output = T> + Send) -> Option<T> {
        tokio::time::timeout(limit, f).await.ok()
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

fn start(
    peer: Peer,
    workers: usize,
    at_start: impl Fn() + Send + Sync + 'static,
) -> Result<Tokio, Lack> {
    let multi = peer == Peer::TokioMulti;
    let mut builder = if multi {
        Builder::new_multi_thread()
    } else if workers == 1 {
        Builder::new_current_thread()
    } else {
        return Err("it has one worker".into());
    };
    builder.worker_threads(workers).on_thread_start(at_start);
    let runtime = builder.enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    Ok(Tokio { runtime, multi })
}

impl AsyncChannel for Bounded {
    type Sender = mpsc::Sender<u64>;
    type Receiver = mpsc::Receiver<u64>;

    fn open(capacity: usize) -> Result<(Self::Sender, Self::Receiver), Lack> {
        Ok(mpsc::channel(capacity))
    }

    async fn send(sender: &Self::Sender, message: u64) {
        sender.send(message).await.expect("somebody receives");
    }

    async fn receive(receiver: &mut Self::Receiver) -> Option<u64> {
        receiver.recv().await
    }
}

impl AsyncChannel for Unbounded {
    type Sender = mpsc::UnboundedSender<u64>;
    type Receiver = mpsc::UnboundedReceiver<u64>;

    fn open(_: usize) -> Result<(Self::Sender, Self::Receiver), Lack> {
        Ok(mpsc::unbounded_channel())
    }

    async fn send(sender: &Self::Sender, message: u64) {
        sender.send(message).expect("somebody receives");
    }

    async fn receive(receiver: &mut Self::Receiver) -> Option<u64> {
        receiver.recv().await
    }
}
