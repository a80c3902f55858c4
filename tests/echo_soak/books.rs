//! Every byte accounted for: what both ends of each connection have sent and received, and what must be equal.
//!
//! A connection has a number, and its bytes follow from that: see [`byte`]. Whoever reads some compares each, so what he has
//! received is a beginning of what was to come, without a gap. Then, of what the client has sent (its kernel has taken), the
//! server received, the server sent and the client received:
//!
//! 1. Each is at least as much as the next.
//! 2. If the server has read to the end, it received all that the client has sent. If the client has read to the end, it
//!    received all that the server has sent. What is on its way is destroyed by a reset, or by closing what has not been read, and by
//!    nothing else; and then nobody reads an end.
//! 3. The server sends what it has received before it reads on: unless it came to its end while it wrote, it has sent all.
//! 4. A client that was connected has a partner at the other end, exactly one, whatever became of it.
//!
//! By 2 and 3 the four are equal where both have read to the end.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

/// The most that the server takes at a time.
pub const PIECE: usize = 4096;

/// What a connection carries at a place, in either direction.
pub fn byte(connection: u32, place: u64) -> u8 {
    let word = (place / 8 + 1)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .wrapping_add(u64::from(connection).wrapping_mul(0xD1B5_4A32_D192_ED03));
    let word = (word ^ (word >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (word >> (8 * (place % 8))) as u8
}

/// How one end has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum End {
    /// It has read to the end.
    Read,
    /// Nothing came, or went, for so long.
    TimedOut,
    /// The other one has reset the connection.
    Reset,
    /// It went away by itself, or was cut off wherever it was: by a cancel or by a time limit round all.
    Left,
    /// It never came to be connected.
    Nowhere,
}

/// What one end has done, which is booked when this is dropped: also when its task is cut off.
pub struct Account {
    books: Arc<Books>,
    of_server: bool,
    pub connection: u32,
    sent: AtomicU64,
    received: AtomicU64,
    writing: AtomicBool,
    end: Mutex<End>,
}

impl Account {
    pub fn of_server(books: &Arc<Books>, connection: u32) -> Account {
        Account::new(books, connection, true, End::Left)
    }

    pub fn of_client(books: &Arc<Books>, connection: u32) -> Account {
        Account::new(books, connection, false, End::Nowhere)
    }

    fn new(books: &Arc<Books>, connection: u32, of_server: bool, end: End) -> Account {
        Account {
            books: books.clone(),
            of_server,
            connection,
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            writing: AtomicBool::new(false),
            end: Mutex::new(end),
        }
    }

    /// Writes all of it, and books what has gone of it even if that fails, or is cut off.
    pub fn write_all(&self, mut to: impl io::Write, mut data: &[u8]) -> io::Result<()> {
        self.writing.store(true, SeqCst);
        while !data.is_empty() {
            let n = to.write(data).inspect_err(|error| self.fails(error))?;
            self.sent.fetch_add(n as u64, SeqCst);
            data = &data[n..];
        }
        self.writing.store(false, SeqCst);
        Ok(())
    }

    /// Reads once, and compares.
    pub fn read(&self, mut from: impl io::Read, buf: &mut [u8]) -> io::Result<usize> {
        let n = from.read(buf).inspect_err(|error| self.fails(error))?;
        let place = self.received.fetch_add(n as u64, SeqCst);
        for (place, &found) in (place..).zip(&buf[..n]) {
            let connection = self.connection;
            let due = byte(connection, place);
            assert_eq!(found, due, "byte {place} of connection {connection}");
        }
        if n == 0 {
            self.ends(End::Read);
        }
        Ok(n)
    }

    /// The next bytes that the client has to send.
    pub fn next(&self, count: usize) -> Vec<u8> {
        let place = self.sent.load(SeqCst);
        let end = place + count as u64;
        (place..end)
            .map(|place| byte(self.connection, place))
            .collect()
    }

    pub fn ends(&self, end: End) {
        *self.end.lock().unwrap() = end;
    }

    /// As the error says. Any other than these is a fault.
    pub fn fails(&self, error: &io::Error) {
        self.ends(match error.kind() {
            io::ErrorKind::TimedOut => End::TimedOut,
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected => End::Reset,
            _ => panic!("connection {}: {error:?}", self.connection),
        });
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let entry = Entry {
            sent: self.sent.load(SeqCst),
            received: self.received.load(SeqCst),
            wrote: !self.writing.load(SeqCst),
            end: *self.end.lock().unwrap(),
        };
        self.books.book(self.connection, self.of_server, entry);
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    sent: u64,
    received: u64,
    /// It did not come to its end in the middle of writing.
    wrote: bool,
    end: End,
}

#[derive(Default)]
pub struct Books(Mutex<Ledger>);

#[derive(Default)]
struct Ledger {
    /// Of connections that have one as yet: whether it is the server's.
    open: HashMap<u32, (bool, Entry)>,
    /// By the ends of the server and of the client.
    closed: HashMap<(End, End), Sums>,
    /// Clients that never came to be connected, as far as the server knows of none.
    nowhere: u64,
}

/// Of connections, in the order of the head of this file.
#[derive(Clone, Copy, Default)]
struct Sums {
    connections: u64,
    client_sent: u64,
    server_received: u64,
    server_sent: u64,
    client_received: u64,
}

impl Books {
    fn book(&self, connection: u32, of_server: bool, entry: Entry) {
        let mut ledger = self.0.lock().unwrap();
        match ledger.open.remove(&connection) {
            None => drop(ledger.open.insert(connection, (of_server, entry))),
            Some((other, partner)) => {
                assert_ne!(of_server, other, "connection {connection} has ended twice");
                let (server, client) = if of_server {
                    (entry, partner)
                } else {
                    (partner, entry)
                };
                ledger.close(connection, server, client);
            }
        }
    }

    /// Closes the books when all have ended, and returns how many connections the server had.
    pub fn balance(&self) -> u64 {
        let mut ledger = self.0.lock().unwrap();
        let Ledger { open, nowhere, .. } = &mut *ledger;
        open.retain(|_, (of_server, entry)| {
            let known = *of_server || entry.end != End::Nowhere;
            *nowhere += u64::from(!known);
            known
        });
        assert!(open.is_empty(), "by 4: {open:?}");
        ledger.closed.values().map(|sums| sums.connections).sum()
    }
}

impl Ledger {
    fn close(&mut self, connection: u32, server: Entry, client: Entry) {
        let told = || format!("connection {connection}: server {server:?}, client {client:?}");
        let at_most = client.sent >= server.received
            && server.received >= server.sent
            && server.sent >= client.received;
        assert!(at_most, "1: {}", told());
        if server.end == End::Read {
            assert_eq!(client.sent, server.received, "2: {}", told());
        }
        if client.end == End::Read {
            assert_eq!(server.sent, client.received, "2: {}", told());
        }
        let kept = server.received - server.sent;
        let may_keep = if server.wrote { 0 } else { PIECE as u64 };
        assert!(kept <= may_keep, "3: {}", told());
        let sums = self.closed.entry((server.end, client.end)).or_default();
        sums.connections += 1;
        sums.client_sent += client.sent;
        sums.server_received += server.received;
        sums.server_sent += server.sent;
        sums.client_received += client.received;
    }
}

/// A table.
impl fmt::Display for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ledger = self.0.lock().unwrap();
        let mut rows: Vec<_> = ledger.closed.iter().collect();
        rows.sort_by_key(|(ends, _)| **ends);
        let row = |f: &mut fmt::Formatter<'_>, cells: [&dyn fmt::Display; 7]| {
            let [server, client, numbers @ ..] = cells;
            write!(f, "{server:<9}{client:<9}")?;
            numbers
                .iter()
                .try_for_each(|number| write!(f, "{:>16}", number.to_string()))?;
            writeln!(f)
        };
        let heading: [&dyn fmt::Display; 7] = [
            &"server",
            &"client",
            &"connections",
            &"client sent",
            &"server received",
            &"server sent",
            &"client received",
        ];
        row(f, heading)?;
        let mut all = Sums::default();
        for ((server, client), sums) in rows {
            all.add(sums);
            row(
                f,
                sums.cells(&format!("{server:?}"), &format!("{client:?}")),
            )?;
        }
        row(f, all.cells(&"all", &""))?;
        write!(f, "{} clients never came to be connected", ledger.nowhere)
    }
}

impl Sums {
    fn add(&mut self, other: &Sums) {
        self.connections += other.connections;
        self.client_sent += other.client_sent;
        self.server_received += other.server_received;
        self.server_sent += other.server_sent;
        self.client_received += other.client_received;
    }

    fn cells<'a>(
        &'a self,
        server: &'a dyn fmt::Display,
        client: &'a dyn fmt::Display,
    ) -> [&'a dyn fmt::Display; 7] {
        [
            server,
            client,
            &self.connections,
            &self.client_sent,
            &self.server_received,
            &self.server_sent,
            &self.client_received,
        ]
    }
}
