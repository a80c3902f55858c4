//! The client: a bare loop that keeps all its connections busy, checks each answer, and notes how long it took.

use super::calls::Counter;
use super::protocol::{Protocol, BUFFER};
use super::{Load, Service, LISTENING};
use crate::model::{Figure, Job, Outcome};
use crate::process::{cpu_time_of, pin, processors};
use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where other programs have the processors, a while may pass without any answer: there are so many whiles.
const PATIENCE: u32 = 10;

/// Starts a peer's server, measures it, and ends it.
pub fn measure(mut server: Command, service: &Service, job: &Job) -> Outcome {
    let text = |error: io::Error| error.to_string();
    let processors = processors();
    let (first, last) = (processors[0], processors[processors.len() - 1]);
    pin(last).map_err(text)?;
    let mut server = Server::start(&mut server, first).map_err(text)?;
    let figures = server.addr().map_err(text).and_then(|addr| {
        let mut client = Client::new(addr, service.protocol, (service.load)(job)).map_err(text)?;
        client.figures(server.0.id(), job).map_err(text)
    });
    // What the server says for itself is worth more than that it has hung up.
    figures.map_err(|error| server.last_words().unwrap_or(error))
}

/// The process of a server, which ends with this value, or with the client.
struct Server(Child);

impl Server {
    fn start(command: &mut Command, cpu: usize) -> io::Result<Server> {
        let prepare = move || {
            // SAFETY: it only asks to be killed if the client is.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            pin(cpu)
        };
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        // SAFETY: two system calls, and nothing is allocated.
        let server = unsafe { command.pre_exec(prepare) }.spawn()?;
        Ok(Server(server))
    }

    fn addr(&mut self) -> io::Result<SocketAddr> {
        let mut line = String::new();
        let out = self.0.stdout.as_mut().expect("it is piped");
        BufReader::with_capacity(1, out).read_line(&mut line)?;
        let addr = line.trim_end().strip_prefix(LISTENING).map(str::parse);
        match addr {
            Some(Ok(addr)) => Ok(addr),
            _ => Err(io::Error::other(line.trim().replace("absent\t", ""))),
        }
    }

    /// How it has ended, if it has.
    fn last_words(&mut self) -> Option<String> {
        let status = self.0.try_wait().ok()??;
        (!status.success()).then(|| format!("server died: {status}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _killed = self.0.kill();
        let _ended = self.0.wait();
    }
}

struct Client {
    poll: Poll,
    addr: SocketAddr,
    protocol: Protocol,
    load: Load,
    /// All that is sent at once on a connection.
    requests: Vec<u8>,
    /// The answer to it: a copy for `Echo`, else its length counts.
    answer_length: usize,
    connections: Vec<Connection>,
    /// How many have been opened.
    opened: u32,
    latency: Histogram<u64>,
    answered: u64,
}

struct Connection {
    stream: TcpStream,
    state: State,
    /// How many requests have been answered on it.
    answered: u64,
}

enum State {
    Connecting(Instant),
    /// So much of the answer has come to what was sent then.
    Waiting(Instant, usize),
}

impl Client {
    fn new(addr: SocketAddr, protocol: Protocol, load: Load) -> io::Result<Client> {
        let mut client = Client {
            poll: Poll::new()?,
            addr,
            protocol,
            requests: protocol.request().repeat(load.depth),
            answer_length: answer_length(addr, protocol)? * load.depth,
            connections: Vec::with_capacity(load.connections),
            load,
            opened: 0,
            latency: Histogram::new(3).expect("three digits"),
            answered: 0,
        };
        for place in 0..client.load.connections {
            let connection = client.open(place)?;
            client.connections.push(connection);
        }
        Ok(client)
    }

    fn figures(&mut self, server: u32, job: &Job) -> io::Result<Vec<Figure>> {
        let time = self.load.time;
        self.drive_for(time / 2)?;
        self.latency.reset();
        let cpu = cpu_time_of(server)?;
        let (requests, elapsed) = self.drive_for(time)?;
        let cpu = cpu_time_of(server)? - cpu;
        if requests == 0 {
            return Err(io::Error::other("no request was answered"));
        }
        let microseconds = |quantile| self.latency.value_at_quantile(quantile) as f64 / 1e3;
        let rate = requests as f64 / elapsed.as_secs_f64();
        let each = cpu.as_secs_f64() * 1e6 / requests as f64;
        let mut figures = vec![
            Figure::new("", "requests/s", rate),
            Figure::new("latency, median", "µs", microseconds(0.5)),
            Figure::new("latency, 99 %", "µs", microseconds(0.99)),
            Figure::new("latency, 99.9 %", "µs", microseconds(0.999)),
            Figure::new("server CPU per request", "µs", each),
        ];
        if job.count_calls {
            let calls = self.count_calls(server)?;
            figures
                .extend(calls.map(|calls| Figure::new("system calls per request", "calls", calls)));
        }
        Ok(figures)
    }

    /// The server's system calls to each request.
    fn count_calls(&mut self, server: u32) -> io::Result<Option<f64>> {
        let Some(mut counter) = Counter::start(server) else {
            return Ok(None);
        };
        let (before, start) = (self.answered, Instant::now());
        while !counter.is_finished() {
            self.drive_for(Duration::from_millis(2))?;
        }
        Ok(counter.per_request(self.answered - before, start.elapsed()))
    }

    /// Returns how many requests were answered, and how long that took: a little more than was asked for, or up to [`PATIENCE`]
    /// times as much until there is one.
    fn drive_for(&mut self, time: Duration) -> io::Result<(u64, Duration)> {
        let (before, start) = (self.answered, Instant::now());
        let mut events = Events::with_capacity(1024);
        let mut buf = vec![0; 4 * BUFFER];
        let goes_on = |answered: u64| {
            let elapsed = start.elapsed();
            elapsed < time || answered == before && elapsed < PATIENCE * time
        };
        while goes_on(self.answered) {
            self.poll.poll(&mut events, Some(time))?;
            for event in &events {
                let place = event.token().0;
                if self.advance(place, &mut buf)? {
                    self.connections[place] = self.open(place)?;
                }
            }
        }
        Ok((self.answered - before, start.elapsed()))
    }

    /// Reads what there is, and sends the next requests; true if it is time for another connection.
    fn advance(&mut self, place: usize, buf: &mut [u8]) -> io::Result<bool> {
        let connection = &mut self.connections[place];
        loop {
            let (sent, got) = match connection.state {
                State::Connecting(since) => {
                    if !connection.send(&self.requests)? {
                        return Ok(false);
                    }
                    connection.state = State::Waiting(since, 0);
                    continue;
                }
                State::Waiting(sent, got) => (sent, got),
            };
            let n = match connection.stream.read(buf) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            };
            let right = match self.protocol {
                Protocol::Echo => self.requests[got..].starts_with(&buf[..n]),
                Protocol::Http => got > 0 || buf.starts_with(b"HTTP/1.1 200 OK\r\n"),
            };
            if !right || got + n > self.answer_length {
                return Err(io::Error::other("the answer is wrong"));
            }
            if got + n < self.answer_length {
                connection.state = State::Waiting(sent, got + n);
                continue;
            }
            let now = Instant::now();
            let latency = (now - sent).as_nanos() as u64;
            self.latency.record(latency).expect("it grows");
            connection.answered += self.load.depth as u64;
            self.answered += self.load.depth as u64;
            if self.load.per_connection == Some(connection.answered) {
                return Ok(true);
            }
            connection.send(&self.requests)?;
            connection.state = State::Waiting(now, 0);
            // Nothing can have come yet, and what comes will be an event.
            return Ok(false);
        }
    }

    /// From one address after the other, for each has only so many ports, and closed connections linger.
    fn open(&mut self, place: usize) -> io::Result<Connection> {
        let since = Instant::now();
        self.opened += 1;
        let source = Ipv4Addr::new(127, 0, 1, (self.opened % 250 + 1) as u8);
        let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None)?;
        socket.set_reuse_address(true)?;
        socket.set_tcp_nodelay(true)?;
        socket.bind(&SocketAddr::from((source, 0)).into())?;
        match socket.connect(&self.addr.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            _ => {}
        }
        let mut stream = TcpStream::from_std(socket.into());
        let both = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        registry.register(&mut stream, Token(place), both)?;
        Ok(Connection {
            stream,
            state: State::Connecting(since),
            answered: 0,
        })
    }
}

impl Connection {
    /// False: it is not connected yet.
    fn send(&mut self, requests: &[u8]) -> io::Result<bool> {
        match self.stream.write(requests) {
            Ok(n) if n == requests.len() => Ok(true),
            Ok(_) => Err(io::Error::other("no room for a few requests")),
            Err(error) => match (error.kind(), error.raw_os_error()) {
                (ErrorKind::WouldBlock | ErrorKind::NotConnected, _) => Ok(false),
                _ => Err(error),
            },
        }
    }
}

/// How long the answer to one request is, which is asked of the server.
fn answer_length(addr: SocketAddr, protocol: Protocol) -> io::Result<usize> {
    let mut stream = std::net::TcpStream::connect(addr)?;
    stream.write_all(protocol.request())?;
    if protocol == Protocol::Echo {
        return Ok(protocol.request().len());
    }
    let mut answer = Vec::new();
    loop {
        let mut buf = [0; BUFFER];
        let n = stream.read(&mut buf)?;
        answer.extend_from_slice(&buf[..n]);
        if let Some(length) = whole(&answer) {
            return Ok(length);
        }
        if n == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
}

/// The length of the answer at the beginning of `bytes`, if it is all there.
fn whole(bytes: &[u8]) -> Option<usize> {
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut answer = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = answer.parse(bytes).ok()? else {
        return None;
    };
    let is_length = |header: &&httparse::Header| header.name.eq_ignore_ascii_case("content-length");
    let length = answer.headers.iter().find(is_length)?;
    let body: usize = std::str::from_utf8(length.value).ok()?.parse().ok()?;
    (bytes.len() >= head + body).then_some(head + body)
}
