//! Owns [`UdpSocket`] and the batches of datagrams that it moves with one system call.
//!
//! 1. Waiting is `Source`'s: nothing here suspends by itself.
//! 2. A datagram is received whole, cut to its buffer or not at all, and by one caller only.
//! 3. A batch's entries describe the front of its data, piece by piece: entry `n` lies at `n * size`.

use super::addr::{each_addr, invalid, ToSocketAddrs};
use super::socket::{any_socket, bind_sharing, new_socket, receive, send, timeouts};
use crate::io::source::Source;
use crate::sys::socket::{self, SockAddr, SockAddrStorage, Type};
use std::iter::FusedIterator;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::{fmt, io, net, slice};

/// A UDP socket: [`std::net::UdpSocket`], whose receiving and sending suspend the task only.
///
/// ```
/// use multitask::net::UdpSocket;
/// use std::io;
///
/// let server = UdpSocket::bind("127.0.0.1:0")?;
/// let addr = server.local_addr()?;
/// multitask::spawn(move || -> io::Result<()> {
///     let mut buf = [0; 1500];
///     loop {
///         let (n, from) = server.recv_from(&mut buf)?; // suspends this task only
///         server.send_to(&buf[..n], from)?;
///     }
/// });
///
/// let client = UdpSocket::bind("127.0.0.1:0")?;
/// client.connect(addr)?; // from now on it hears that one peer only
/// client.send(b"hello")?;
/// let mut answer = [0; 16];
/// let n = client.recv(&mut answer)?;
/// assert_eq!(&answer[..n], b"hello");
/// # Ok::<(), io::Error>(())
/// ```
///
/// A datagram may get lost on its way, so what waits for an answer should not wait for ever:
/// [`set_read_timeout`](UdpSocket::set_read_timeout) or [`timeout`](crate::timeout()).
pub struct UdpSocket {
    /// Non-blocking inside, whatever the user asked for: see `Settings::nonblocking`.
    pub(super) source: Source<net::UdpSocket>,
}

impl UdpSocket {
    /// Makes a socket bound to `addr`; with several addresses, to the first that can be bound. Port 0 asks for a free one.
    ///
    /// Suspends only to look a name up.
    ///
    /// # Errors
    ///
    /// That of the last address tried (`AddrInUse`, `PermissionDenied`, `AddrNotAvailable`), or `InvalidInput` if there was none.
    pub fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<UdpSocket> {
        each_addr(addr, |addr| {
            let source = Source::new(net::UdpSocket::bind(addr)?)?;
            Ok(UdpSocket { source })
        })
    }

    /// [`bind`](UdpSocket::bind) to a port that several sockets have together, be they of one process or of several: each datagram goes to one of
    /// them, by the kernel's choice (`SO_REUSEPORT`), and those of one sender to the same one for as long as none comes or goes. **Beyond std.**
    ///
    /// All of them have to be bound so, and by the same user. Port 0 asks for a port that nobody has yet.
    ///
    /// ```
    /// use multitask::net::UdpSocket;
    /// # fn main() -> std::io::Result<()> {
    ///
    /// let first = UdpSocket::bind_shared("127.0.0.1:0")?;
    /// let addr = first.local_addr()?;
    /// let second = UdpSocket::bind_shared(addr)?; // most often another process
    ///
    /// drop(first);
    /// UdpSocket::bind("127.0.0.1:0")?.send_to(b"hello", addr)?;
    /// assert_eq!(second.recv(&mut [0; 16])?, 5);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`bind`](UdpSocket::bind): `AddrInUse` also if somebody has the port for himself. `Unsupported` where the kernel does not spread
    /// datagrams: it does on Linux and FreeBSD.
    pub fn bind_shared<A: ToSocketAddrs>(addr: A) -> io::Result<UdpSocket> {
        each_addr(addr, |addr| {
            let socket = new_socket(addr, Type::DGRAM)?;
            bind_sharing(&socket, addr)?;
            let source = Source::new(socket.into())?;
            Ok(UdpSocket { source })
        })
    }

    /// Receives one datagram and tells where it came from; suspends the task until there is one.
    ///
    /// What does not fit into `buf` is lost: the answer is then `buf.len()`. An empty datagram answers 0.
    ///
    /// # Errors
    ///
    /// Those of the system call: on a connected socket `ConnectionRefused`, if nobody was there to receive what was sent before.
    /// `TimedOut` and `WouldBlock` if that was asked for.
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        receive(&self.source, |socket| socket.recv_from(buf))
    }

    /// [`recv_from`](UdpSocket::recv_from) without taking the datagram out of the socket.
    ///
    /// # Errors
    ///
    /// Those of `recv_from`.
    pub fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        receive(&self.source, |socket| socket.peek_from(buf))
    }

    /// Sends `buf` as one datagram to the first of `addr`'s addresses; suspends the task while the socket's buffer is full.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if there is no address, else those of the system call (a datagram that is too large, an unreachable network).
    /// `TimedOut` and `WouldBlock` if that was asked for.
    pub fn send_to<A: ToSocketAddrs>(&self, buf: &[u8], addr: A) -> io::Result<usize> {
        let Some(addr) = addr.to_socket_addrs()?.next() else {
            return Err(invalid("no addresses to send data to"));
        };
        send(&self.source, |socket| socket.send_to(buf, addr))
    }

    /// The address of the peer that the socket is connected to; never suspends.
    ///
    /// # Errors
    ///
    /// Those of `getpeername`: `NotConnected` before [`connect`](UdpSocket::connect).
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.source.get().peer_addr()
    }

    /// The address this socket is bound to; never suspends.
    ///
    /// # Errors
    ///
    /// Those of `getsockname`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.get().local_addr()
    }

    /// Chooses the peer: `send` goes to it, and datagrams of others are not received. With several addresses, the first that can be reached.
    ///
    /// Suspends only to look a name up: nothing is sent.
    ///
    /// # Errors
    ///
    /// That of the last address tried (`NetworkUnreachable`, another family), or `InvalidInput` if there was none.
    pub fn connect<A: ToSocketAddrs>(&self, addr: A) -> io::Result<()> {
        each_addr(addr, |addr| self.source.get().connect(addr))
    }

    /// Sends `buf` as one datagram to the connected peer; suspends the task while the socket's buffer is full.
    ///
    /// # Errors
    ///
    /// Those of the system call: `ConnectionRefused` if nobody was there to receive what was sent *before*, and then nothing was sent;
    /// `NotConnected` or its like before [`connect`](UdpSocket::connect). `TimedOut` and `WouldBlock` if that was asked for.
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        send(&self.source, |socket| socket.send(buf))
    }

    /// Receives one datagram, from the connected peer if there is one; suspends the task until there is one.
    ///
    /// What does not fit into `buf` is lost: the answer is then `buf.len()`. An empty datagram answers 0.
    ///
    /// # Errors
    ///
    /// Those of [`recv_from`](UdpSocket::recv_from).
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        receive(&self.source, |socket| socket.recv(buf))
    }

    /// [`recv`](UdpSocket::recv) without taking the datagram out of the socket.
    ///
    /// # Errors
    ///
    /// Those of `recv_from`.
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        receive(&self.source, |socket| socket.peek(buf))
    }

    /// Allows sending to broadcast addresses (`SO_BROADCAST`); never suspends.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`.
    pub fn set_broadcast(&self, broadcast: bool) -> io::Result<()> {
        self.source.get().set_broadcast(broadcast)
    }

    /// Whether sending to broadcast addresses is allowed; never suspends.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt`.
    pub fn broadcast(&self) -> io::Result<bool> {
        self.source.get().broadcast()
    }

    /// Whether what is sent to an IPv4 group is received on this host too (`IP_MULTICAST_LOOP`); never suspends.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`.
    pub fn set_multicast_loop_v4(&self, multicast_loop_v4: bool) -> io::Result<()> {
        self.source.get().set_multicast_loop_v4(multicast_loop_v4)
    }

    /// See [`set_multicast_loop_v4`](UdpSocket::set_multicast_loop_v4); never suspends.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt`.
    pub fn multicast_loop_v4(&self) -> io::Result<bool> {
        self.source.get().multicast_loop_v4()
    }

    /// How many networks a packet to an IPv4 group may cross (`IP_MULTICAST_TTL`, 1 at first); never suspends.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`.
    pub fn set_multicast_ttl_v4(&self, multicast_ttl_v4: u32) -> io::Result<()> {
        self.source.get().set_multicast_ttl_v4(multicast_ttl_v4)
    }

    /// See [`set_multicast_ttl_v4`](UdpSocket::set_multicast_ttl_v4); never suspends.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt`.
    pub fn multicast_ttl_v4(&self) -> io::Result<u32> {
        self.source.get().multicast_ttl_v4()
    }

    /// Whether what is sent to an IPv6 group is received on this host too (`IPV6_MULTICAST_LOOP`); never suspends.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`.
    pub fn set_multicast_loop_v6(&self, multicast_loop_v6: bool) -> io::Result<()> {
        self.source.get().set_multicast_loop_v6(multicast_loop_v6)
    }

    /// See [`set_multicast_loop_v6`](UdpSocket::set_multicast_loop_v6); never suspends.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt`.
    pub fn multicast_loop_v6(&self) -> io::Result<bool> {
        self.source.get().multicast_loop_v6()
    }

    /// Sets the time to live of the packets sent; never suspends.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.source.get().set_ttl(ttl)
    }

    /// The time to live of the packets sent; never suspends.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt`.
    pub fn ttl(&self) -> io::Result<u32> {
        self.source.get().ttl()
    }

    /// Joins an IPv4 group on the interface with that address, [`Ipv4Addr::UNSPECIFIED`] for one of the system's choice; never suspends.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`: the address is no group's, there is no such interface, the socket is in the group already.
    pub fn join_multicast_v4(&self, multiaddr: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.source.get().join_multicast_v4(multiaddr, interface)
    }

    /// Joins an IPv6 group on the interface of that index, 0 for one of the system's choice; never suspends.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`: the address is no group's, there is no such interface, the socket is in the group already.
    pub fn join_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.source.get().join_multicast_v6(multiaddr, interface)
    }

    /// Leaves a group joined with [`join_multicast_v4`](UdpSocket::join_multicast_v4); never suspends.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`: the socket is not in the group.
    pub fn leave_multicast_v4(&self, multiaddr: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.source.get().leave_multicast_v4(multiaddr, interface)
    }

    /// Leaves a group joined with [`join_multicast_v6`](UdpSocket::join_multicast_v6); never suspends.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`: the socket is not in the group.
    pub fn leave_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.source.get().leave_multicast_v6(multiaddr, interface)
    }
}

any_socket! { UdpSocket }
timeouts! {
    UdpSocket,
    reads: "`recv`, `recv_from`, `peek`, `peek_from` and `recv_many`",
    writes: "`send`, `send_to`, `send_many` and `send_many_to`"
}

/// **Beyond std**: many datagrams with one system call (`recvmmsg`, `sendmmsg`), where the system has it; with one call each elsewhere.
impl UdpSocket {
    /// Receives the datagrams that are there, as many as `batch` has room for, and answers how many; suspends the task until there is one.
    ///
    /// It does not wait for the batch to be full: the answer is at least 1, unless the batch has no room at all. What was in the batch is gone,
    /// also when the call fails. A datagram that does not fit in its place is cut, and says so: [`Datagram::truncated`].
    ///
    /// ```
    /// use multitask::net::{Datagram, RecvBatch, UdpSocket};
    /// use std::io;
    ///
    /// let server = UdpSocket::bind("127.0.0.1:0")?;
    /// let client = UdpSocket::bind("127.0.0.1:0")?;
    /// client.connect(server.local_addr()?)?;
    /// assert_eq!(client.send_many(&["one", "two"])?, 2);
    ///
    /// let mut batch = RecvBatch::new(64, 1500); // to be used again and again
    /// let mut received = Vec::new();
    /// while received.len() < 2 {
    ///     server.recv_many(&mut batch)?;
    ///     for Datagram { data, from, .. } in &batch {
    ///         received.push(data.to_vec());
    ///         server.send_to(data, from)?;
    ///     }
    /// }
    /// assert_eq!(received, [b"one", b"two"]);
    /// # Ok::<(), io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`recv_from`](UdpSocket::recv_from), if they concern the first datagram. A later error ends the batch, and on Linux the
    /// next call reports it; where there is no `recvmmsg`, it is lost.
    pub fn recv_many(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        batch.entries.clear();
        if batch.capacity() == 0 {
            return Ok(0);
        }
        let mut all_from_ip = true;
        receive(&self.source, |inner| {
            let RecvBatch {
                data,
                size,
                senders,
                entries,
            } = &mut *batch;
            socket::recv_many(
                inner.as_fd(),
                data,
                *size,
                senders,
                |received| match received.from.as_socket() {
                    Some(from) => entries.push(Entry {
                        len: received.len,
                        from,
                        truncated: received.truncated,
                    }),
                    None => all_from_ip = false,
                },
            )
        })?;
        if !all_from_ip {
            // A socket taken in may be of another family altogether, and std's word for that is this.
            batch.entries.clear();
            return Err(invalid("invalid argument"));
        }
        Ok(batch.len())
    }

    /// Sends each of `datagrams` to the connected peer, and answers how many, from the front, were sent; suspends the task while there is
    /// no room for the first.
    ///
    /// As `write`, it may send a part: the socket's buffer is full, or one datagram could not be sent. Call it again with the rest, and
    /// that datagram is the first, whose error is reported. No datagrams are 0 sent.
    ///
    /// # Errors
    ///
    /// Those of [`send`](UdpSocket::send), for the first datagram; nothing was sent then.
    pub fn send_many<D: AsRef<[u8]>>(&self, datagrams: &[D]) -> io::Result<usize> {
        self.send_out(datagrams.iter().map(|data| (data.as_ref(), None)))
    }

    /// [`send_many`](UdpSocket::send_many), each datagram to an address of its own.
    ///
    /// ```
    /// use multitask::net::{SocketAddr, UdpSocket};
    /// use std::io;
    ///
    /// fn send_all(socket: &UdpSocket, mut datagrams: &[(&[u8], SocketAddr)]) -> io::Result<()> {
    ///     while !datagrams.is_empty() {
    ///         datagrams = &datagrams[socket.send_many_to(datagrams)?..];
    ///     }
    ///     Ok(())
    /// }
    ///
    /// let (a, b) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// send_all(&socket, &[(b"for a", a.local_addr()?), (b"for b", b.local_addr()?)])?;
    ///
    /// let mut buf = [0; 16];
    /// assert_eq!(b.recv(&mut buf)?, 5);
    /// assert_eq!(&buf[..5], b"for b");
    /// # Ok::<(), io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`send_to`](UdpSocket::send_to), for the first datagram; nothing was sent then.
    pub fn send_many_to<D: AsRef<[u8]>>(&self, datagrams: &[(D, SocketAddr)]) -> io::Result<usize> {
        self.send_out(
            datagrams
                .iter()
                .map(|(data, to)| (data.as_ref(), Some((*to).into()))),
        )
    }

    fn send_out<'a>(
        &self,
        datagrams: impl Iterator<Item = (&'a [u8], Option<SockAddr>)>,
    ) -> io::Result<usize> {
        let datagrams: Vec<_> = datagrams.collect();
        if datagrams.is_empty() {
            return Ok(0);
        }
        send(&self.source, |inner| {
            socket::send_many(inner.as_fd(), &datagrams)
        })
    }
}

/// **Beyond std**: the buffers of [`UdpSocket::recv_many`], and what it received; made once, used again and again.
///
/// Iterating over `&batch` yields each [`Datagram`] received by the last call, in the order in which they came.
pub struct RecvBatch {
    /// `size` bytes for each datagram.
    data: Box<[u8]>,
    size: usize,
    /// Scratch room for the addresses of the senders.
    senders: Box<[SockAddrStorage]>,
    entries: Vec<Entry>,
}

/// One datagram of a [`RecvBatch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Datagram<'a> {
    /// What arrived; of a truncated datagram the part that fits.
    pub data: &'a [u8],
    /// Who sent it.
    pub from: SocketAddr,
    /// It was longer than its place in the batch, and the rest is lost.
    pub truncated: bool,
}

/// An iterator over the datagrams of a [`RecvBatch`].
#[derive(Clone)]
#[must_use = "iterators are lazy and do nothing unless consumed"]
pub struct Datagrams<'a> {
    places: slice::ChunksExact<'a, u8>,
    entries: slice::Iter<'a, Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    len: usize,
    from: SocketAddr,
    truncated: bool,
}

impl RecvBatch {
    /// Makes room for `datagrams` datagrams of up to `size` bytes each.
    ///
    /// No datagram has more than 65,535 bytes, and few networks carry more than about 1,500 in one piece.
    ///
    /// # Panics
    ///
    /// If `size` is zero, for every datagram would be cut, or if that is more memory than there can be.
    pub fn new(datagrams: usize, size: usize) -> RecvBatch {
        assert!(size > 0, "a datagram needs a place of at least one byte");
        let bytes = datagrams.checked_mul(size).expect("a size in memory");
        RecvBatch {
            data: vec![0; bytes].into_boxed_slice(),
            size,
            senders: (0..datagrams).map(|_| SockAddrStorage::zeroed()).collect(),
            entries: Vec::with_capacity(datagrams),
        }
    }

    /// How many datagrams it has room for.
    pub fn capacity(&self) -> usize {
        self.data.len() / self.size
    }

    /// How many datagrams the last call received.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no datagram in it: it is new, or the last call failed.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The datagrams received by the last call, in the order in which they came.
    pub fn iter(&self) -> Datagrams<'_> {
        Datagrams {
            places: self.data.chunks_exact(self.size),
            entries: self.entries.iter(),
        }
    }
}

impl<'a> IntoIterator for &'a RecvBatch {
    type Item = Datagram<'a>;
    type IntoIter = Datagrams<'a>;

    fn into_iter(self) -> Datagrams<'a> {
        self.iter()
    }
}

impl<'a> Iterator for Datagrams<'a> {
    type Item = Datagram<'a>;

    fn next(&mut self) -> Option<Datagram<'a>> {
        let entry = self.entries.next()?;
        Some(Datagram {
            data: &self.places.next()?[..entry.len],
            from: entry.from,
            truncated: entry.truncated,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.entries.size_hint()
    }
}

impl ExactSizeIterator for Datagrams<'_> {}

impl FusedIterator for Datagrams<'_> {}

impl fmt::Debug for RecvBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl fmt::Debug for Datagrams<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}
