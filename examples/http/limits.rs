//! Owns how much, and for how long, a stranger may keep the server busy.
//!
//! A time limit is on something whole, a head, a body, a piece of an answer, never on one read or write: who sends a byte each second makes
//! progress with every read, and never comes to an end.

use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a request line and its headers.
    pub head: usize,
    /// Bytes of a body.
    pub body: u64,
    /// Bytes of all bodies that are in memory at a time. Beyond that they are refused for now.
    pub all_bodies: usize,
    /// From the first byte of a head to its last; for the first head of a connection from when that was accepted.
    pub head_time: Duration,
    /// From the end of a head to the end of its body.
    pub body_time: Duration,
    /// From an answer to the first byte of the next request.
    pub idle_time: Duration,
    /// For each [`PIECE`](super::connection::PIECE) of what is written.
    pub write_time: Duration,
    /// Connections at a time; others wait in the kernel.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            head: 16 << 10,
            body: 8 << 20,
            all_bodies: 256 << 20,
            head_time: Duration::from_secs(10),
            body_time: Duration::from_secs(60),
            idle_time: Duration::from_secs(60),
            write_time: Duration::from_secs(20),
            connections: 10_000,
        }
    }
}
