//! Futures that want tokio's runtime round them (feature `tokio`).
//!
//! Crates that are made for tokio (HTTP clients, drivers of databases) take sockets and timers from the runtime of the thread that
//! polls them, and panic without one. [`block_on`] gives them one: a background runtime, made when it is first asked for, whose
//! sockets and timers a thread of its own looks after, and which runs what [`tokio::spawn`] starts. The future itself is polled by
//! the task that waits, as ever.
//!
//! ```
//! use multitask::{future, spawn};
//! use std::time::Duration;
//!
//! let task = spawn(|| {
//!     future::tokio::block_on(async {
//!         tokio::time::sleep(Duration::from_millis(1)).await;
//!         tokio::spawn(async { "on tokio's thread" }).await.unwrap()
//!     })
//! });
//! assert_eq!(task.join().unwrap(), "on tokio's thread");
//! ```
//!
//! The runtime is the process's, and stays until its end. From then on the process has a thread that may wake any task, so a
//! [`Deadlock`](crate::Deadlock) is not found any more.
//!
//! How the context is kept:
//!
//! 1. It is entered for each poll, and for the drop of a future, and left before the task waits: other tasks of the thread never see it.
//! 2. Unless a task suspends *inside* a poll, by calling what blocks from an `async` block. Then it stays entered on that thread until
//!    the last such poll has ended. tokio wants its guards dropped in reverse order, which tasks that take turns do not keep to; so
//!    there is one guard per thread, and a count of those who want it.
//!
//! The adapter round a future is the idea of the crate `async-compat`.

use super::block_on as wait_for;
use std::cell::Cell;
use std::future::{Future, IntoFuture};
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::{future, io, thread};
use tokio::runtime::{Builder, EnterGuard, Handle};

/// The background runtime: made now, if it was not before. Never suspends.
///
/// For what asks for a [`Handle`], and to have the error where [`block_on`] and [`enter`] would panic.
///
/// # Errors
/// The process is out of threads or descriptors.
pub fn handle() -> io::Result<&'static Handle> {
    static HANDLE: OnceLock<Handle> = OnceLock::new();
    static MAKING: Mutex<()> = Mutex::new(());

    if let Some(handle) = HANDLE.get() {
        return Ok(handle);
    }
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    match HANDLE.get() {
        Some(handle) => Ok(handle),
        None => start().map(|handle| HANDLE.get_or_init(|| handle)),
    }
}

/// A runtime that a thread of its own drives for ever.
fn start() -> io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let drives = move || runtime.block_on(future::pending::<()>());
    let thread = thread::Builder::new().name("multitask-tokio".into());
    thread.spawn(drives).map(|_detached| handle)
}

/// As [`future::block_on`](super::block_on()), with the background runtime round the future.
///
/// Suspends the calling task (on a plain thread: blocks it). For bounded waits see [`in_context`].
///
/// # Panics
/// As `future::block_on`; and if the runtime cannot be made: see [`handle`].
///
/// ```
/// use multitask::{future, spawn};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// use tokio::net::{TcpListener, TcpStream};
///
/// # fn main() -> std::io::Result<()> {
/// let listener = future::tokio::block_on(TcpListener::bind("127.0.0.1:0"))?;
/// let addr = listener.local_addr()?;
/// let server = spawn(move || {
///     future::tokio::block_on(async move { listener.accept().await?.0.write_all(b"hello").await })
/// });
/// let mut greeting = String::new();
/// future::tokio::block_on(async {
///     TcpStream::connect(addr).await?.read_to_string(&mut greeting).await
/// })?;
/// assert_eq!(greeting, "hello");
/// server.join().unwrap()
/// # }
/// ```
pub fn block_on<F: IntoFuture>(future: F) -> F::Output {
    wait_for(in_context(future))
}

/// Calls `f` with the background runtime round it: for what takes a socket or a timer from the runtime outside of a future.
/// Suspends if `f` does.
///
/// # Panics
/// If the runtime cannot be made: see [`handle`].
///
/// ```
/// use multitask::future;
/// use std::time::Duration;
///
/// let sleep = future::tokio::enter(|| tokio::time::sleep(Duration::from_millis(1)));
/// future::tokio::block_on(sleep);
/// ```
pub fn enter<R>(f: impl FnOnce() -> R) -> R {
    let _entered = Entered::enter();
    f()
}

/// Puts the background runtime round a future, wherever that is then polled: for the bounded forms of
/// [`future::block_on`](super::block_on()), and for other executors.
///
/// ```
/// use multitask::{future, Timeout};
/// use std::time::Duration;
///
/// let hour = async { tokio::time::sleep(Duration::from_secs(3600)).await };
/// let late = future::block_on_timeout(future::tokio::in_context(hour), Duration::from_millis(2));
/// assert_eq!(late, Err(Timeout));
/// ```
pub fn in_context<F: IntoFuture>(future: F) -> InContext<F::IntoFuture> {
    // Code of the user's, which may want the context as well.
    let future = enter(|| future.into_future());
    InContext(ManuallyDrop::new(future))
}

/// A future with the background runtime round it; made by [`in_context`].
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct InContext<F>(ManuallyDrop<F>);

impl<F: Future> Future for InContext<F> {
    type Output = F::Output;

    /// # Panics
    /// If the runtime cannot be made: see [`handle`].
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: it is not moved.
        let future = unsafe { self.map_unchecked_mut(|this| &mut *this.0) };
        enter(|| future.poll(cx))
    }
}

impl<F> Drop for InContext<F> {
    fn drop(&mut self) {
        // It was entered before, when this was made.
        let _entered = Entered::enter();
        // SAFETY: this is its end, where it stands.
        unsafe { ManuallyDrop::drop(&mut self.0) };
    }
}

thread_local! {
    /// How many want the context on this thread.
    static WANTED: Cell<usize> = const { Cell::new(0) };
    /// The guard, while there are any. Never dropped by the thread's end: tokio's own thread-locals may be gone by then.
    static GUARD: Cell<Option<ManuallyDrop<EnterGuard<'static>>>> = const { Cell::new(None) };
}

/// One who wants the context, on the thread that made this.
struct Entered(std::marker::PhantomData<*const ()>);

impl Entered {
    fn enter() -> Self {
        let handle = handle().unwrap_or_else(|error| panic!("no runtime of tokio: {error}"));
        if WANTED.get() == 0 {
            GUARD.set(Some(ManuallyDrop::new(handle.enter())));
        }
        WANTED.set(WANTED.get() + 1);
        Entered(std::marker::PhantomData)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        WANTED.set(WANTED.get() - 1);
        if WANTED.get() == 0 {
            drop(GUARD.take().map(ManuallyDrop::into_inner));
        }
    }
}
