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

pub use error::{Cancelled, Deadlock, JoinError, Timeout};
pub use rt::scheduler::{Builder as SchedulerBuilder, Handle, Scheduler, Stats};
pub use shutdown::{Unfinished, UnfinishedTask};
pub use task::{run, spawn, spawn_local, yield_now, JoinHandle};
pub use time::{sleep, sleep_until, timeout, timeout_at};
