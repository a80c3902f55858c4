//! Where the echo server listens and its client connects to: `HOST:PORT`, `udp:HOST:PORT`, `unix:PATH`, and on Linux
//! `unix:@NAME`, which is in no file system.

use multitask::os::unix::net::SocketAddr;
use std::fmt;
use std::io;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;

pub enum Address {
    Tcp(String),
    Udp(String),
    Unix(SocketAddr),
}

impl Address {
    pub fn parse(text: &str) -> io::Result<Address> {
        if let Some(addr) = text.strip_prefix("udp:") {
            return Ok(Address::Udp(addr.to_owned()));
        }
        match text.strip_prefix("unix:") {
            Some(path) => unix(path).map(Address::Unix),
            None => Ok(Address::Tcp(text.to_owned())),
        }
    }
}

fn unix(path: &str) -> io::Result<SocketAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = path.strip_prefix('@') {
        return SocketAddr::from_abstract_name(name);
    }
    SocketAddr::from_pathname(path)
}

/// In the form in which it is parsed.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(addr) => write!(f, "{addr}"),
            Address::Udp(addr) => write!(f, "udp:{addr}"),
            Address::Unix(addr) => {
                #[cfg(target_os = "linux")]
                if let Some(name) = addr.as_abstract_name() {
                    return write!(f, "unix:@{}", name.escape_ascii());
                }
                let path = addr.as_pathname().unwrap_or("".as_ref());
                write!(f, "unix:{}", path.display())
            }
        }
    }
}
