//! Waiting for the first of several things: messages, room for them, descriptors, moments, the ends of tasks.
//!
//! [`select!`](crate::select!) takes arms that are written down, [`Select`] a number of them that is known at run time. Both do
//! the same; what is said of the macro holds for both.
//!
//! ```
//! use multitask::{select, spawn, sync::oneshot};
//! use std::time::Duration;
//!
//! let (ask, asked) = oneshot::channel::<&str>();
//! let (answer, answered) = oneshot::channel();
//! spawn(move || answer.send(asked.recv().unwrap().len()).unwrap());
//! ask.send("how long?").unwrap();
//! let length = select! {
//!     recv(answered) -> length => length.unwrap(),
//!     after(Duration::from_secs(1)) => 0,
//! };
//! assert_eq!(length, 9);
//! ```

mod builder;
#[doc(hidden)]
pub mod macros;
#[doc(hidden)]
#[allow(missing_docs)]
pub mod private;

pub use crate::rt::choice::{Receive, Transmit};
pub use builder::{Select, SelectedOperation, TrySelectError};
