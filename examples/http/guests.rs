//! Owns who is connected, so that those who have asked for nothing can be sent home when the server stops. The others are answered.
//!
//! 1. Who is about to be idle says so, and then asks whether the server stops; who stops the server says so, and then looks who is
//!    idle. Whichever comes later closes the idle one's ear: nobody waits unseen.
//! 2. A closed ear (`shutdown` of the reading side) loses nothing: what has come can still be read, and after that the end is.

use multitask::net::{Shutdown, TcpStream};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Default)]
pub struct Guests {
    closing: AtomicBool,
    next: AtomicU64,
    here: Mutex<HashMap<u64, Arc<Guest>>>,
}

/// A connection.
pub struct Guest {
    pub socket: TcpStream,
    /// It waits for the first byte of a request.
    idle: AtomicBool,
}

impl Guests {
    pub fn enter(&self, socket: TcpStream) -> Seat<'_> {
        let guest = Arc::new(Guest {
            socket,
            idle: AtomicBool::new(false),
        });
        let number = self.next.fetch_add(1, Relaxed);
        self.here().insert(number, guest.clone());
        Seat {
            guests: self,
            number,
            guest,
        }
    }

    /// How many there were.
    pub fn accepted(&self) -> u64 {
        self.next.load(Relaxed)
    }

    /// How many there are.
    pub fn open(&self) -> usize {
        self.here().len()
    }

    pub fn is_closing(&self) -> bool {
        self.closing.load(SeqCst)
    }

    /// From now on nobody is waited for who has asked for nothing.
    pub fn close(&self) {
        self.closing.store(true, SeqCst);
        for guest in self.here().values() {
            if guest.idle.load(SeqCst) {
                guest.close_ear();
            }
        }
    }

    /// Nobody waits while it is locked.
    fn here(&self) -> MutexGuard<'_, HashMap<u64, Arc<Guest>>> {
        self.here.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guest {
    fn close_ear(&self) {
        let _gone_already = self.socket.shutdown(Shutdown::Read);
    }
}

/// A guest's place, who leaves when this is dropped.
pub struct Seat<'a> {
    guests: &'a Guests,
    number: u64,
    guest: Arc<Guest>,
}

impl Seat<'_> {
    pub fn socket(&self) -> &TcpStream {
        &self.guest.socket
    }

    /// Invariant 1, until what is returned is dropped.
    pub fn idle(&self) -> Idle<'_> {
        self.guest.idle.store(true, SeqCst);
        if self.guests.is_closing() {
            self.guest.close_ear();
        }
        Idle(&self.guest)
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let left = self.guests.here().remove(&self.number);
        drop(left); // not while it is locked
    }
}

pub struct Idle<'a>(&'a Guest);

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        self.0.idle.store(false, SeqCst);
    }
}
