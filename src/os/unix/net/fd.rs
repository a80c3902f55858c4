//! Owns the passages between a Unix socket of ours, std's socket and a bare descriptor.
//!
//! 1. They are `net`'s, and so are their invariants.

use super::datagram::UnixDatagram;
use super::listener::UnixListener;
use super::stream::UnixStream;
use crate::net::fd::passages;
use std::os::unix::net;

passages! {
    UnixDatagram: net::UnixDatagram,
    UnixListener: net::UnixListener,
    UnixStream: net::UnixStream,
}
