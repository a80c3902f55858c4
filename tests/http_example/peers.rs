//! A server of the examples at work, a client by hand, and curl.

pub use crate::programs::files::Folder;
use crate::programs::{served, Program, Server, PATIENCE};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;

pub fn serving(options: &[&str]) -> Serving {
    Serving(Server::started("http_server", options, &["127.0.0.1:0"]))
}

pub fn serving_tls(options: &[&str]) -> Serving {
    Serving(Server::started("https_server", options, &["127.0.0.1:0"]))
}

/// A server of the examples at work.
pub struct Serving(pub Server);

impl Serving {
    pub fn url(&self, path: &str) -> String {
        self.0.addr.clone() + path
    }

    pub fn addr(&self) -> &str {
        self.0.addr.split("://").nth(1).unwrap()
    }

    pub fn client(&self) -> Client {
        Client::connected(self.addr())
    }

    /// Somebody who was served, and how many times he came.
    pub fn guest(&self) -> (Client, u64) {
        served(|| {
            let mut client = self.client();
            client.asks()?;
            Ok(client)
        })
    }

    pub fn stop(self, signal: &str) -> String {
        self.0.stop(signal)
    }

    /// The most that it has had in memory, in bytes.
    pub fn memory(&self) -> u64 {
        self.0.program.memory()
    }
}

pub struct Client(pub BufReader<TcpStream>);

pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut mine = self.headers.iter().filter(|header| header.0 == name);
        mine.next().map(|header| &*header.1)
    }
}

impl Client {
    pub fn connected(addr: &str) -> Client {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Client(BufReader::new(stream))
    }

    #[track_caller]
    pub fn says(&mut self, bytes: &[u8]) {
        self.0.get_ref().write_all(bytes).unwrap();
    }

    #[track_caller]
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    /// An answer without a body.
    #[track_caller]
    pub fn head(&mut self) -> Answer {
        let first = self.line();
        let status = first
            .strip_prefix("HTTP/1.1 ")
            .unwrap_or_else(|| panic!("{first:?}"));
        let status = status[..3].parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.line();
            if line == "\r\n" {
                break;
            }
            let (name, value) = line.split_once(':').unwrap();
            headers.push((name.to_lowercase(), value.trim().to_owned()));
        }
        Answer {
            status,
            headers,
            body: Vec::new(),
        }
    }

    #[track_caller]
    pub fn hears(&mut self) -> Answer {
        let mut answer = self.head();
        let length = answer
            .header("content-length")
            .map_or(0, |length| length.parse().unwrap());
        answer.body.resize(length, 0);
        self.0.read_exact(&mut answer.body).unwrap();
        answer
    }

    #[track_caller]
    pub fn hears_no_more(&mut self) {
        let mut rest = Vec::new();
        // A reset would be an error: it may take the last answer with it.
        self.0.read_to_end(&mut rest).unwrap();
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }

    #[track_caller]
    pub fn is_served(&mut self) {
        self.asks().unwrap();
    }

    /// An error if the server has closed the connection before.
    fn asks(&mut self) -> io::Result<()> {
        self.0.get_ref().write_all(get("/plaintext").as_bytes())?;
        self.awaits()?;
        assert_eq!(self.hears().body, b"Hello, World!");
        Ok(())
    }

    /// Until something comes, which is not read; an error if nothing does.
    pub fn awaits(&mut self) -> io::Result<()> {
        match self.0.fill_buf()? {
            [] => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")
}

pub fn farewell(requests: u64, connections: u64, cut_off: u64) -> String {
    format!("served {requests} requests on {connections} connections, {cut_off} of them cut off\n")
}

/// What a program writes that must succeed.
#[track_caller]
pub fn run(program: &str, args: &[&str]) -> String {
    let output = Program::from(Command::new(program).args(args)).finish();
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
pub fn curl(args: &[&str]) -> String {
    run("curl", &[&["--silent", "--show-error"], args].concat())
}

/// Bytes that repeat nowhere near.
pub fn noise(length: usize) -> Vec<u8> {
    let byte = |i: u64| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8;
    (1..=length as u64).map(byte).collect()
}
