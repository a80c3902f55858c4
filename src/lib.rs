//! Ordinary functions that run beside each other, thousands to a thread: stackful tasks, with std's own names.
//!
//! ```no_run
//! use multitask::{net::TcpListener, spawn, Scheduler};
//! use std::io::{self, Read, Write};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let scheduler = Scheduler::new()?;
//!     let listener = TcpListener::bind("127.0.0.1:7000")?;
//!     scheduler.spawn(move || -> io::Result<()> {
//!         loop {
//!             let (mut stream, _peer) = listener.accept()?; // suspends this task only
//!             spawn(move || -> io::Result<()> {
//!                 let mut buf = [0; 1024];
//!                 loop {
//!                     match stream.read(&mut buf)? { // so does this
//!                         0 => return Ok(()),
//!                         n => stream.write_all(&buf[..n])?,
//!                     }
//!                 }
//!             });
//!         }
//!     });
//!     scheduler.run()?; // until every task has finished
//!     Ok(())
//! }
//! ```
//!
//! There is no `async`: any function may wait, at any depth, and what is written for `Read` and `Write` works in a task as it is.
//!
//! # In ten minutes
//!
//! ## A task is a function with a stack of its own
//!
//! [`spawn`] and [`join`](JoinHandle::join) are those of threads. A task takes its turns with others on one thread, and runs until it
//! waits, yields or ends; nobody takes the processor away from it. So what happens between two waits happens at once, as far
//! as the others of that thread can see.
//!
//! ```
//! use multitask::spawn;
//!
//! let tasks: Vec<_> = (0..1000).map(|n| spawn(move || n * 2)).collect();
//! let sum: u32 = tasks.into_iter().map(|task| task.join().unwrap()).sum();
//! assert_eq!(sum, 999_000);
//! ```
//!
//! A panic ends its task, and comes out of `join`. Dropping the handle detaches the task. All calls of this crate work on plain
//! threads as well, `main` among them: they block the thread, which runs the tasks that it has spawned meanwhile. A program that
//! is all tasks makes a [`Scheduler`], and calls its [`run`](Scheduler::run) or [`block_on`](Scheduler::block_on). What `main` itself
//! starts on that one it starts by [`Scheduler::spawn`]: its own `spawn` is for tasks that run when there is no other.
//!
//! ## Tasks talk through channels, and share behind locks
//!
//! [`sync`] has those of std, with the same names and errors, and [`select!`](select!) for the first of several things. They work
//! between tasks, between threads, and between the two. Who waits in a task suspends that task only.
//!
//! ```
//! use multitask::{select, spawn, sync::mpsc};
//! use std::time::Duration;
//!
//! let (ask, questions) = mpsc::sync_channel(16);
//! let (stop, stopped) = mpsc::channel::<()>();
//! let clerk = spawn(move || {
//!     let mut answered = 0;
//!     loop {
//!         select! {
//!             recv(questions) -> _question => answered += 1,
//!             recv(stopped) -> _ => break answered, // its sender has gone
//!             after(Duration::from_secs(60)) => break answered,
//!         }
//!     }
//! });
//! ask.send("how long?").unwrap();
//! multitask::yield_now(); // the others come first
//! drop(stop);
//! assert_eq!(clerk.join().unwrap(), 1);
//! ```
//!
//! ## Anything can have a time limit
//!
//! [`sleep`] suspends. [`timeout`](timeout()) bounds a whole piece of code, which knows nothing of it: where it waits when the time is up, it
//! is unwound, so destructors run. Single operations have limits as in std, and report them as errors of kind `TimedOut`.
//!
//! ```
//! use multitask::{sleep, timeout, Timeout};
//! use std::time::Duration;
//!
//! fn slow() {
//!     sleep(Duration::from_secs(3600));
//! }
//! assert_eq!(timeout(Duration::from_millis(5), slow), Err(Timeout));
//! ```
//!
//! ## Any task can be ended
//!
//! [`cancel`](JoinHandle::cancel), from any thread, unwinds a task in the same way; [`task::shield`] puts it off for the few lines that
//! must not be left half done.
//!
//! ```
//! use multitask::{spawn, task, yield_now};
//!
//! let waits = spawn(task::park);
//! yield_now(); // it has begun
//! waits.cancel();
//! assert!(waits.join().unwrap_err().is_cancelled());
//! ```
//!
//! ## Sockets are std's behind another path
//!
//! [`net`] has TCP and UDP, [`os::unix::net`] Unix sockets; [`net::Server`] is the loop round `accept`, with a limit and a good end.
//! [`fs`], [`process`], [`signal`] and [`io`] do the same for files, children, Ctrl-C and whatever has a descriptor.
//!
//! ```
//! use multitask::net::{Server, TcpStream};
//! use std::io::{self, BufRead, BufReader, Write};
//! use std::time::Duration;
//!
//! # fn main() -> io::Result<()> {
//! let server = Server::bind("127.0.0.1:0")?;
//! let (addr, handle) = (server.local_addr()?, server.handle());
//! let serving = multitask::spawn(move || {
//!     server.serve(|stream: TcpStream, _peer| -> io::Result<()> {
//!         for line in BufReader::new(&stream).lines() {
//!             writeln!(&stream, "you said {}", line?)?; // through `&`, as in std
//!         }
//!         Ok(())
//!     })
//! });
//!
//! let client = TcpStream::connect(addr)?;
//! writeln!(&client, "hello")?;
//! let mut answer = String::new();
//! BufReader::new(&client).read_line(&mut answer)?;
//! assert_eq!(answer, "you said hello\n");
//! drop(client);
//! handle.stop(Duration::from_secs(10));
//! serving.join().unwrap()?;
//! # Ok(())
//! # }
//! ```
//!
//! ## What belongs together ends together
//!
//! [`task::scope`] borrows from the caller and waits for its tasks; when the caller is cancelled, or a time limit round it passes, they
//! are cancelled with it. [`task::try_scope`] ends all with the first error, [`task::race`] with the first that ends, and a
//! [`task::JoinSet`] gives results as they come.
//!
//! ```
//! use multitask::task;
//!
//! let pages = ["one", "two", "three"];
//! let lengths = task::scope(|scope| {
//!     let tasks: Vec<_> = pages.iter().map(|page| scope.spawn(|| page.len())).collect();
//!     tasks.into_iter().map(|task| task.join().unwrap()).collect::<Vec<_>>()
//! });
//! assert_eq!(lengths, [3, 3, 5]);
//! ```
//!
//! ## Several cores are one line
//!
//! A scheduler with workers spreads tasks over threads. One that has begun stays on its thread: it may keep `Rc`s and borrow
//! thread-locals as any code does. What tasks of `spawn` share has to be `Sync`, as with threads; [`spawn_local`] stays on this worker.
//!
//! ```
//! use multitask::{spawn, Scheduler};
//!
//! # fn main() -> std::io::Result<()> {
//! let scheduler = Scheduler::builder().workers(2).build()?; // or `workers_per_core()`
//! let sum = scheduler.block_on(|| {
//!     let parts: Vec<_> = (0..10_u64).map(|part| spawn(move || (part * 1000..(part + 1) * 1000).sum::<u64>())).collect();
//!     parts.into_iter().map(|part| part.join().unwrap()).sum::<u64>()
//! });
//! assert_eq!(sum, 49_995_000);
//! # Ok(())
//! # }
//! ```
//!
//! ## What blocks, blocks all
//!
//! `std::thread::sleep`, `std::net`, `std::fs`, a `std::sync::Mutex` that somebody holds, a C library: whatever waits behind the
//! scheduler's back keeps every task of its worker waiting, and so does a long computation. Use what is here under std's names;
//! and for the rest [`task::blocking`], which makes the call on another thread and suspends the task.
//!
//! ```
//! use multitask::{spawn, task};
//!
//! let task = spawn(|| {
//!     let text = String::from("of somebody's library");
//!     task::blocking(|| text.len()) // may borrow
//! });
//! assert_eq!(task.join().unwrap(), 21);
//! ```
//!
//! # Limits
//!
//! - A stack has a fixed size: 128 KiB, or 512 KiB with debug assertions, unless [told otherwise](task::Builder::stack_size). Who
//!   overflows it ends the process, with a message that names the task.
//! - A `thread_local!` belongs to the worker, and is shared by its tasks; [`task_local!`] makes a value for each task.
//! - With `panic = "abort"` nothing can be unwound: time limits and cancelling reach operations that can fail, and nothing else.
//! - It is tested on Linux. Windows is refused.
//!
//! # When something is wrong
//!
//! When nothing can ever happen again `run` says so, and names every task with what it waits for. [`Scheduler::dump`] shows where each
//! task stands, [`watchdog`](SchedulerBuilder::watchdog) tells who keeps others waiting: with the feature `stall-backtrace` also where, while it does.
//!
//! # Where to go on
//!
//! | for | |
//! |---|---|
//! | starting, joining and sizing tasks, scopes | [`task`]; under the names of `std::thread`, [`thread`] |
//! | sleeping, limits, intervals, timers | [`time`] |
//! | channels, locks, queues | [`sync`]; the first of several: [`mod@select`] |
//! | sockets and servers | [`net`], [`os::unix::net`] |
//! | files, pipes, terminals, any descriptor | [`fs`], [`io`] |
//! | children and signals | [`process`], [`signal`] |
//! | futures and async runtimes | [`future`] |
//! | seeing what goes on | [`dump`], [`Metrics`]; spans and logs: the module `trace`, with the feature `tracing` |
//! | testing your program | the module `testing`, with the feature of that name |
//!
//! | feature | off unless asked for |
//! |---|---|
//! | `testing` | a scheduler for tests: its clock leaps when all tasks wait, and a seed repeats the order in which they run |
//! | `tracing` | a span of the crate `tracing` round each task |
//! | `stall-backtrace` | where a task is that keeps its worker, in the watchdog's first report; on Linux on x86_64 and aarch64 |
//! | `tokio` | `future::tokio`: futures of crates that want tokio's runtime round them |
//! | `futures-io` | `AsyncRead` and `AsyncWrite` of streams and pipes |
//!
//! The guide in `docs/guide` has a chapter for each, a chat server from beginning to end, and tables for those who come from
//! threads, from other coroutines, or from `async`. Its Rust is compiled and run with the tests.
#![deny(unsafe_code)]
#![warn(missing_docs)]

mod base;
#[allow(unsafe_code)]
mod blocking;
mod error;
mod guide;
#[allow(unsafe_code)]
mod rt;
mod shutdown;
#[allow(unsafe_code)]
mod sys;

pub mod dump;
#[cfg(multitask_faults)]
#[doc(hidden)]
pub mod faults;
pub mod fs;
#[allow(unsafe_code)]
pub mod future;
#[allow(unsafe_code)]
pub mod io;
pub mod net;
pub mod os;
pub mod process;
pub mod select;
pub mod signal;
#[allow(unsafe_code)]
pub mod sync;
#[allow(unsafe_code)]
pub mod task;
#[cfg(feature = "testing")]
pub mod testing;
pub mod thread;
pub mod time;
#[cfg(feature = "tracing")]
pub mod trace;

pub use error::{Cancelled, Deadlock, JoinError, Timeout};
pub use rt::metrics::Metrics;
pub use rt::scheduler::{Builder as SchedulerBuilder, Handle, Scheduler, Stats};
pub use shutdown::{Unfinished, UnfinishedTask};
pub use task::{run, spawn, spawn_local, yield_now, JoinHandle};
pub use time::{sleep, sleep_until, timeout, timeout_at};
