//! Owns the way from what a caller calls an address to [`SocketAddr`]s.
//!
//! 1. A literal address is parsed where it stands; only a name leaves the thread, through `blocking::resolve`.
//! 2. What is accepted, in which order it is tried and how it fails is std's, word for word.

use crate::blocking;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::{io, iter, option, slice, vec};

/// What can be turned into one or more [`SocketAddr`]s: std's [`ToSocketAddrs`](std::net::ToSocketAddrs), for tasks.
///
/// It has std's shape and is implemented for every type that std implements its own for, so calls need no change, and code that
/// *implements* or names the trait changes its `use` line only:
///
/// ```
/// use multitask::net::{SocketAddr, ToSocketAddrs};
/// use std::{io, vec};
///
/// struct Service(&'static str);
///
/// impl ToSocketAddrs for Service {
///     type Iter = vec::IntoIter<SocketAddr>;
///     fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
///         (self.0, 7000).to_socket_addrs()
///     }
/// }
///
/// let mut addrs = Service("127.0.0.1").to_socket_addrs()?;
/// assert_eq!(addrs.next(), Some("127.0.0.1:7000".parse().unwrap()));
/// # Ok::<(), io::Error>(())
/// ```
///
/// It is a trait of its own because std's looks a name up on the thread that calls it, with `getaddrinfo`: one slow name server would stop
/// every task of that worker. Here a name is looked up by the blocking pool while the task is suspended. A literal
/// address (`"127.0.0.1:80"`, `("::1", 80)`, a [`SocketAddr`]) is parsed at once and never waits.
pub trait ToSocketAddrs {
    /// The addresses a value stands for, in the order they are to be tried.
    type Iter: Iterator<Item = SocketAddr>;

    /// Turns the value into its addresses; for a name, this suspends the task until the answer is there.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a string that is no `host:port`, else what the resolver reports.
    fn to_socket_addrs(&self) -> io::Result<Self::Iter>;
}

impl ToSocketAddrs for SocketAddr {
    type Iter = option::IntoIter<SocketAddr>;
    fn to_socket_addrs(&self) -> io::Result<option::IntoIter<SocketAddr>> {
        Ok(Some(*self).into_iter())
    }
}

impl ToSocketAddrs for SocketAddrV4 {
    type Iter = option::IntoIter<SocketAddr>;
    fn to_socket_addrs(&self) -> io::Result<option::IntoIter<SocketAddr>> {
        SocketAddr::V4(*self).to_socket_addrs()
    }
}

impl ToSocketAddrs for SocketAddrV6 {
    type Iter = option::IntoIter<SocketAddr>;
    fn to_socket_addrs(&self) -> io::Result<option::IntoIter<SocketAddr>> {
        SocketAddr::V6(*self).to_socket_addrs()
    }
}

impl ToSocketAddrs for (IpAddr, u16) {
    type Iter = option::IntoIter<SocketAddr>;
    fn to_socket_addrs(&self) -> io::Result<option::IntoIter<SocketAddr>> {
        SocketAddr::new(self.0, self.1).to_socket_addrs()
    }
}

impl ToSocketAddrs for (Ipv4Addr, u16) {
    type Iter = option::IntoIter<SocketAddr>;
    fn to_socket_addrs(&self) -> io::Result<option::IntoIter<SocketAddr>> {
        SocketAddrV4::new(self.0, self.1).to_socket_addrs()
    }
}

impl ToSocketAddrs for (Ipv6Addr, u16) {
    type Iter = option::IntoIter<SocketAddr>;
    fn to_socket_addrs(&self) -> io::Result<option::IntoIter<SocketAddr>> {
        SocketAddrV6::new(self.0, self.1, 0, 0).to_socket_addrs()
    }
}

impl ToSocketAddrs for (&str, u16) {
    type Iter = vec::IntoIter<SocketAddr>;
    fn to_socket_addrs(&self) -> io::Result<vec::IntoIter<SocketAddr>> {
        lookup(self.0, self.1)
    }
}

impl ToSocketAddrs for (String, u16) {
    type Iter = vec::IntoIter<SocketAddr>;
    fn to_socket_addrs(&self) -> io::Result<vec::IntoIter<SocketAddr>> {
        lookup(&self.0, self.1)
    }
}

impl ToSocketAddrs for str {
    type Iter = vec::IntoIter<SocketAddr>;
    fn to_socket_addrs(&self) -> io::Result<vec::IntoIter<SocketAddr>> {
        if let Ok(addr) = self.parse() {
            return Ok(vec![addr].into_iter());
        }
        let Some((host, port)) = self.rsplit_once(':') else {
            return Err(invalid("invalid socket address"));
        };
        let Ok(port) = port.parse() else {
            return Err(invalid("invalid port value"));
        };
        lookup(host, port)
    }
}

impl ToSocketAddrs for String {
    type Iter = vec::IntoIter<SocketAddr>;
    fn to_socket_addrs(&self) -> io::Result<vec::IntoIter<SocketAddr>> {
        self.as_str().to_socket_addrs()
    }
}

impl<'a> ToSocketAddrs for &'a [SocketAddr] {
    type Iter = iter::Cloned<slice::Iter<'a, SocketAddr>>;
    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        Ok(self.iter().cloned())
    }
}

impl<T: ToSocketAddrs + ?Sized> ToSocketAddrs for &T {
    type Iter = T::Iter;
    fn to_socket_addrs(&self) -> io::Result<T::Iter> {
        (**self).to_socket_addrs()
    }
}

/// Tries `open` on each address in turn: the first success, else the last failure, as in std.
pub(super) fn each_addr<T>(
    addr: impl ToSocketAddrs,
    mut open: impl FnMut(&SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut last = None;
    for addr in addr.to_socket_addrs()? {
        match open(&addr) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| invalid("could not resolve to any addresses")))
}

/// An error of kind `InvalidInput` with one of std's messages.
pub(crate) fn invalid(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// The addresses of `host`, from its own text where it is a literal one and from the resolver where it is a name.
fn lookup(host: &str, port: u16) -> io::Result<vec::IntoIter<SocketAddr>> {
    match host.parse() {
        Ok(ip) => Ok(vec![SocketAddr::new(ip, port)].into_iter()),
        Err(_) => blocking::resolve(host, port),
    }
}
