//! Servers and their client.
//!
//! The child of such a bench is the client; it starts the server, a process of its own, and measures it. Each has one
//! processor to itself: the server the first, the client the last. The client is the same for all: a bare loop over its connections.

mod calls;
mod client;
mod hyper;
mod protocol;
mod raw;
mod server;

use crate::model::Job;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

pub use client::measure;
pub use protocol::Protocol;
pub use server::serve;

/// What a server does, and what its client makes of it.
pub struct Service {
    pub protocol: Protocol,
    /// Beside the connections, one task spins on yielding, and another computes for a millisecond between yields.
    pub busy: bool,
    pub load: fn(&Job) -> Load,
}

/// What the client does.
pub struct Load {
    pub connections: usize,
    /// How many requests are under way on a connection.
    pub depth: usize,
    /// After so many requests a connection is closed, and another one opened.
    pub per_connection: Option<u64>,
    /// How long it is measured; half of that is spent before.
    pub time: Duration,
}

const LISTENING: &str = "listening ";

/// Tells the client where the server listens.
fn announce(addr: SocketAddr) {
    println!("{LISTENING}{addr}");
    io::stdout().flush().expect("the client reads it");
}
