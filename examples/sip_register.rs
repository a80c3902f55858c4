//! Requests over datagrams that may be lost, and their replies: phones that register, as SIP has it (RFC 3261), and who registers them.
//!
//! ```text
//! cargo run --release --example sip_register -- serve [ADDR]      # 127.0.0.1:5060 unless told otherwise
//! cargo run --release --example sip_register -- register ADDR sip:ada@example.org sip:ben@example.org
//! ```
//!
//! One socket for all requests, each of them a task: it sends, and takes from a queue the reply that has its `Call-ID` and its number.
//! While none comes it sends the same again, after T1, twice that, and so on up to T2, until 64 T1 have passed (17.1.2.2). Who serves keeps
//! each reply for as long, and a request that comes again gets the same again (17.2.2).
//!
//! | option | | unless told otherwise |
//! |---|---|---|
//! | `--t1 SECONDS` | how long a reply may take | 0.5 |
//! | `--t2 SECONDS` | between two requests, at most | 4 |
//!
//! Of SIP it is what one needs to see the rest: no authentication, no proxies, no TCP, and phones are forgotten only when they say so.

use multitask::net::UdpSocket;
use multitask::signal::{Signals, SIGINT, SIGTERM};
use multitask::sync::{Mutex, Queue};
use multitask::{spawn, task, Scheduler};
use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::error::Error;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;
use std::process;
use std::time::{Duration, Instant};

const USAGE: &str = "\
    usage: sip_register [--t1 SECONDS] [--t2 SECONDS] serve [ADDR]
       sip_register [--t1 SECONDS] [--t2 SECONDS] register ADDR SIP-URI...";

/// Bytes of a message.
const MESSAGE: usize = 8 << 10;
/// Replies, and phones, that are kept: the oldest reply makes room, a phone too many does not come in.
const KEPT: usize = 100_000;

fn main() -> Result<(), Box<dyn Error>> {
    let (timers, words) = options()?;
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let scheduler = Scheduler::new()?;
    match *words {
        ["serve"] => scheduler.block_on(|| serve("127.0.0.1:5060", timers))?,
        ["serve", addr] => scheduler.block_on(|| serve(addr, timers))?,
        ["register", addr, ref phones @ ..] if !phones.is_empty() => {
            scheduler.block_on(|| register_all(addr, phones, timers))?;
        }
        _ => return Err(USAGE.into()),
    }
    Ok(())
}

// ---- who asks ----

/// All at a time.
fn register_all(addr: &str, phones: &[&str], timers: Timers) -> io::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(addr)?;
    let requests = Requests {
        socket,
        replies: Queue::unbounded(),
        open: Mutex::default(),
        timers,
    };
    let failed = task::scope(|scope| {
        let listener = scope.spawn(|| requests.listen());
        let registering = phones.iter().map(|phone| {
            let requests = &requests;
            scope.spawn(move || tell(phone, &register(phone, requests)).is_ok_and(|good| good))
        });
        let registering: Vec<_> = registering.collect();
        let joined = registering
            .into_iter()
            .map(|one| one.join().unwrap_or(false));
        let failed = joined.filter(|good| !good).count();
        listener.cancel();
        failed
    });
    match failed {
        0 => Ok(()),
        n => Err(io::Error::other(format!("{n} could not be registered"))),
    }
}

fn register(phone: &str, requests: &Requests) -> io::Result<(Reply, usize)> {
    let here = requests.socket.local_addr()?;
    let (call, branch, tag) = (random(), random(), random());
    let request = format!(
        "REGISTER {phone} SIP/2.0\r\n\
         Via: SIP/2.0/UDP {here};branch=z9hG4bK{branch:x};rport\r\n\
         Max-Forwards: 70\r\n\
         To: <{phone}>\r\n\
         From: <{phone}>;tag={tag:x}\r\n\
         Call-ID: {call:x}@{here}\r\n\
         CSeq: 1 REGISTER\r\n\
         Contact: <sip:{here}>\r\n\
         Content-Length: 0\r\n\r\n"
    );
    let key = (format!("{call:x}@{here}"), "1 REGISTER".to_owned());
    requests.ask(key, request.as_bytes())
}

/// Whether it is registered.
fn tell(phone: &str, outcome: &io::Result<(Reply, usize)>) -> io::Result<bool> {
    let mut out = io::stdout();
    match outcome {
        Ok((reply, sent)) => {
            writeln!(
                out,
                "{phone}: {} {}, {sent} sent",
                reply.status, reply.reason
            )?;
            Ok(reply.status / 100 == 2)
        }
        Err(error) => writeln!(out, "{phone}: {error}").map(|()| false),
    }
}

/// `Call-ID` and `CSeq`: what a request and its replies have in common.
type Key = (String, String);

#[derive(Debug)]
struct Reply {
    key: Key,
    status: u16,
    reason: String,
}

/// Requests that are on their way, by one socket.
struct Requests {
    socket: UdpSocket,
    /// Only such as somebody may wait for.
    replies: Queue<Reply>,
    open: Mutex<HashSet<Key>>,
    timers: Timers,
}

impl Requests {
    /// The last reply to a request, and how often it was sent.
    ///
    /// # Errors
    /// None has come in time, or it could not be sent.
    fn ask(&self, key: Key, request: &[u8]) -> io::Result<(Reply, usize)> {
        self.open.lock().unwrap().insert(key.clone());
        let asked = self.ask_open(&key, request);
        self.open.lock().unwrap().remove(&key);
        while self
            .replies
            .try_get_matching(|reply| reply.key == key)
            .is_ok()
        {} // came twice
        asked
    }

    fn ask_open(&self, key: &Key, request: &[u8]) -> io::Result<(Reply, usize)> {
        let Timers { t1, t2 } = self.timers;
        let (mut due, mut wait, mut sent) = (Instant::now(), t1, 0);
        let end = due + t1 * 64;
        while due < end {
            // What says that nobody is there is a datagram as well, and may be somebody else's.
            match self.socket.send(request) {
                Err(error) if error.kind() != ErrorKind::ConnectionRefused => return Err(error),
                _ => sent += 1,
            }
            due = end.min(due + wait);
            let is_mine = |reply: &Reply| reply.key == *key;
            while let Ok(reply) = self.replies.get_matching_deadline(is_mine, due) {
                if reply.status >= 200 {
                    return Ok((reply, sent));
                }
                wait = t2; // it is being worked on
            }
            wait = t2.min(wait * 2);
        }
        let silence = format!("no reply, {sent} sent");
        Err(io::Error::new(ErrorKind::TimedOut, silence))
    }

    /// Until it is cancelled, or the socket fails.
    fn listen(&self) {
        let mut buf = [0; MESSAGE];
        loop {
            let reply = match self.socket.recv(&mut buf) {
                Ok(length) => Message::parse(&buf[..length]).and_then(|message| message.reply()),
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => continue,
                Err(_) => return, // whoever waits is told that time is up
            };
            let Some(reply) = reply else { continue };
            // Held until it is there: who has asked looks for what is left when nobody puts it there any more.
            let open = self.open.lock().unwrap();
            if open.contains(&reply.key) {
                let _open = self.replies.try_put(reply);
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Timers {
    t1: Duration,
    t2: Duration,
}

// ---- who is asked ----

/// Until it is told to end.
fn serve(addr: &str, timers: Timers) -> io::Result<()> {
    let socket = UdpSocket::bind(addr)?;
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    println!("listening on {}", socket.local_addr()?);
    let serving = spawn(move || -> io::Result<()> {
        let mut registrar = Registrar::default();
        let mut buf = [0; MESSAGE];
        loop {
            let (length, peer) = socket.recv_from(&mut buf)?;
            if let Some(reply) = registrar.reply(&buf[..length], peer, timers) {
                let _lost = socket.send_to(reply.as_bytes(), peer); // then it is asked again
            }
        }
    });
    signals.wait()?;
    serving.cancel();
    Ok(())
}

#[derive(Default)]
struct Registrar {
    /// Where each phone is.
    phones: BTreeMap<String, String>,
    /// What was answered to whom, in case that it is asked again.
    replies: HashMap<(SocketAddr, Key), String>,
    /// Until when each reply is kept.
    kept: VecDeque<(Instant, (SocketAddr, Key))>,
}

impl Registrar {
    /// `None` to what is no request.
    fn reply(&mut self, bytes: &[u8], peer: SocketAddr, timers: Timers) -> Option<String> {
        let request = Message::parse(bytes)?;
        let method = request.first.split(' ').next()?;
        if !request.first.ends_with(" SIP/2.0") || method == "ACK" {
            return None;
        }
        let key = (peer, request.key()?);
        self.forget(Instant::now());
        if let Some(reply) = self.replies.get(&key) {
            return Some(reply.clone());
        }
        let (status, contact) = self.register(method, &request);
        let mut reply = format!("SIP/2.0 {status}\r\n");
        for name in ["via", "from", "to", "call-id", "cseq"] {
            for value in request.all(name) {
                let tag = if name == "to" && !value.contains(";tag=") {
                    ";tag=registrar"
                } else {
                    ""
                };
                reply += &format!("{name}: {value}{tag}\r\n");
            }
        }
        reply += &format!("{contact}Content-Length: 0\r\n\r\n");
        self.replies.insert(key.clone(), reply.clone());
        self.kept.push_back((Instant::now() + timers.t1 * 64, key));
        Some(reply)
    }

    /// The status, and the header that says where the phone is now.
    fn register(&mut self, method: &str, request: &Message<'_>) -> (&'static str, String) {
        if method != "REGISTER" {
            return ("405 Method Not Allowed", "Allow: REGISTER\r\n".into());
        }
        let Some(phone) = request.all("to").next().map(uri) else {
            return ("400 Bad Request", String::new());
        };
        let contact = request.all("contact").next();
        let expires = request.all("expires").next();
        if expires == Some("0") || contact.is_some_and(|contact| contact.ends_with(";expires=0")) {
            self.phones.remove(phone);
        } else if let Some(contact) = contact {
            if self.phones.len() >= KEPT && !self.phones.contains_key(phone) {
                return ("503 Service Unavailable", String::new());
            }
            self.phones
                .insert(phone.to_owned(), uri(contact).to_owned());
        }
        let now = self
            .phones
            .get(phone)
            .map(|at| format!("Contact: <{at}>\r\n"));
        ("200 OK", now.unwrap_or_default())
    }

    fn forget(&mut self, now: Instant) {
        while let Some((until, key)) = self.kept.front() {
            if *until > now && self.kept.len() < KEPT {
                return;
            }
            self.replies.remove(key);
            self.kept.pop_front();
        }
    }
}

/// What is in the angle brackets, if there are some.
fn uri(address: &str) -> &str {
    let inner = address
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'));
    inner.map_or(address.split(';').next().unwrap_or(""), |(uri, _)| uri)
}

// ---- messages ----

/// A request or a reply, whose body is of no interest here.
struct Message<'a> {
    first: &'a str,
    headers: Vec<(&'a str, &'a str)>,
}

impl<'a> Message<'a> {
    /// `None` if it is none, or has been cut short.
    fn parse(bytes: &'a [u8]) -> Option<Message<'a>> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (head, _body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let first = lines.next()?;
        let headers = lines.map(|line| {
            line.split_once(':')
                .map(|(name, value)| (name.trim(), value.trim()))
        });
        let headers = headers.collect::<Option<_>>()?;
        let is_clean = !head.replace("\r\n", "").contains(char::is_control);
        is_clean.then_some(Message { first, headers })
    }

    /// The values of a header, which may have a short name as well.
    fn all(&self, name: &'static str) -> impl Iterator<Item = &'a str> + '_ {
        let short = match name {
            "via" => "v",
            "from" => "f",
            "to" => "t",
            "call-id" => "i",
            "contact" => "m",
            _ => name,
        };
        let is_it = move |given: &str| {
            given.eq_ignore_ascii_case(name) || given.eq_ignore_ascii_case(short)
        };
        let mine = self.headers.iter().filter(move |header| is_it(header.0));
        mine.map(|header| header.1)
    }

    fn key(&self) -> Option<Key> {
        let one = |name| self.all(name).next().map(str::to_owned);
        Some((one("call-id")?, one("cseq")?))
    }

    fn reply(&self) -> Option<Reply> {
        let (status, reason) = self.first.strip_prefix("SIP/2.0 ")?.split_once(' ')?;
        Some(Reply {
            key: self.key()?,
            status: status.parse().ok()?,
            reason: reason.to_owned(),
        })
    }
}

/// The keys of std's hash maps are random.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

// ---- options ----

fn options() -> Result<(Timers, Vec<String>), lexopt::Error> {
    use lexopt::prelude::*;
    let mut timers = Timers {
        t1: Duration::from_millis(500),
        t2: Duration::from_secs(4),
    };
    let mut words = Vec::new();
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("t1") => timers.t1 = parser.value()?.parse_with(seconds)?,
            Long("t2") => timers.t2 = parser.value()?.parse_with(seconds)?,
            Short('h') | Long("help") => {
                println!("{USAGE}");
                process::exit(0);
            }
            Value(word) => words.push(word.string()?),
            _ => return Err(arg.unexpected()),
        }
    }
    Ok((timers, words))
}

/// Not none at all, and no more than a day.
fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds @ 0.001..=86_400.0) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("0.001 to 86400".into()),
    }
}
