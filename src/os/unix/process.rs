//! What Unix adds to processes, as [`std::os::unix::process`].
//!
//! `CommandExt` is std's, for std's `Command`. std lets nobody else implement it: ours has its stable methods as its own, so a
//! program needs no import for them.

pub use std::os::unix::process::{parent_id, CommandExt, ExitStatusExt};
