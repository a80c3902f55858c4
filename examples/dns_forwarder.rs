//! A DNS forwarder with a cache: asks others, and remembers what they said for as long as they said. Messages are by `hickory-proto`.
//!
//! ```text
//! cargo run --release --example dns_forwarder -- --upstream 9.9.9.9:53 [OPTION]... [ADDR]     # 127.0.0.1:5353 unless told otherwise
//! dig @127.0.0.1 -p 5353 example.org
//! ```
//!
//! A task for each question. It is answered over UDP and TCP; upstream it goes by UDP, and by TCP if the answer is too long for that. Each
//! attempt has a socket of its own, so a port that nobody can guess, and an id of its own; what does not answer just that is
//! not listened to (RFC 5452).
//!
//! | option | | unless told otherwise |
//! |---|---|---|
//! | `--upstream ADDR` | whom to ask; several are tried in turn | |
//! | `--timeout SECONDS` | for an answer from upstream, of which [`ATTEMPTS`] are waited for | 2 |
//! | `--max-questions N` | that are asked at a time; one that comes then is dropped, and will be asked again | 200 |
//! | `--max-cached N` | answers in the cache: those that are stale the soonest make room | 10,000 |
//!
//! Ctrl-C or SIGTERM ends it.

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{RData, Record};
use multitask::net::{Incident, Server, TcpStream, UdpSocket};
use multitask::signal::{Signals, SIGINT, SIGTERM};
use multitask::sync::{Mutex, Semaphore};
use multitask::{spawn, timeout, Scheduler};
use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Arc;
use std::time::{Duration, Instant};

const USAGE: &str = "\
    usage: dns_forwarder --upstream ADDR [--upstream ADDR]... [--timeout SECONDS] [--max-questions N] [--max-cached N] [ADDR]";

/// Times that a question is asked before it fails.
const ATTEMPTS: usize = 3;
/// Bytes of a datagram that no network takes apart, and what we take by UDP.
const DATAGRAM: u16 = 1232;
/// What is remembered for longer is not.
const MAX_TTL: Duration = Duration::from_secs(24 * 3600);
/// How long a connection may say nothing, and how many there may be.
const IDLE: Duration = Duration::from_secs(10);
const CONNECTIONS: usize = 100;

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse()?;
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let (socket, server) = bind(&options.addr)?;
    let socket = Arc::new(socket);
    let server = server
        .max_connections(CONNECTIONS)
        .on_incident(|incident| match incident {
            Incident::Failed { .. } => {} // clients may go away, and fill no log with it
            other => eprintln!("{other}"),
        });
    println!("listening on {}", socket.local_addr()?);
    let forwarder = Arc::new(Forwarder {
        places: Arc::new(Semaphore::new(options.max_questions)),
        cache: Mutex::new(Cache::new(options.max_cached)),
        options,
        answered: AtomicU64::new(0),
        cached: AtomicU64::new(0),
    });
    Scheduler::new()?.block_on(|| {
        let (over_udp, over_tcp) = (forwarder.clone(), forwarder.clone());
        spawn(move || {
            if let Err(error) = over_udp.serve_datagrams(&socket) {
                eprintln!("UDP: {error}");
            }
        });
        spawn(move || server.serve(move |stream, _peer| over_tcp.serve_stream(&stream)));
        signals.wait()
    })?; // all others end with the scheduler
    let (answered, cached) = (&forwarder.answered, &forwarder.cached);
    let (answered, cached) = (answered.load(Relaxed), cached.load(Relaxed));
    writeln!(
        io::stdout(),
        "answered {answered}, {cached} of them from the cache"
    )?;
    Ok(())
}

/// One port for both. If which is left to the system, the one that it gives may be another's for TCP.
fn bind(addr: &str) -> io::Result<(UdpSocket, Server)> {
    let mut tries = 0..10;
    loop {
        let socket = UdpSocket::bind(addr)?;
        match Server::bind(socket.local_addr()?) {
            Ok(server) => return Ok((socket, server)),
            Err(error) if error.kind() == ErrorKind::AddrInUse && tries.next().is_some() => {}
            Err(error) => return Err(error),
        }
    }
}

struct Forwarder {
    options: Options,
    /// For questions that are being asked.
    places: Arc<Semaphore>,
    cache: Mutex<Cache>,
    answered: AtomicU64,
    cached: AtomicU64,
}

/// What an answer depends on: the question, and whether signatures are wanted, and unchecked ones.
type Key = (Query, bool, bool);

impl Forwarder {
    fn serve_datagrams(self: &Arc<Self>, socket: &Arc<UdpSocket>) -> io::Result<()> {
        let (mut buf, mut short) = ([0; 4096], false);
        loop {
            let (length, peer) = socket.recv_from(&mut buf)?;
            let Ok(place) = self.places.clone().try_acquire_owned() else {
                if !short {
                    eprintln!("too many questions: some are dropped");
                }
                short = true;
                continue;
            };
            short = false;
            let (asked, this, socket) = (buf[..length].to_vec(), self.clone(), socket.clone());
            spawn(move || {
                let answer = this.answer(&asked);
                drop(place);
                if let Some((answer, limit)) = answer {
                    // As any datagram it may be lost.
                    let _lost = encode(&answer, limit).map(|bytes| socket.send_to(&bytes, peer));
                }
            });
        }
    }

    /// One question after the other.
    fn serve_stream(&self, stream: &TcpStream) -> io::Result<()> {
        loop {
            let asked = timeout(IDLE, || read_framed(stream))??;
            let _place = self.places.acquire().map_err(io::Error::other)?;
            let (answer, _) = self.answer(&asked).ok_or(ErrorKind::InvalidData)?;
            let answer = encode(&answer, u16::MAX)?;
            timeout(IDLE, || write_framed(stream, &answer))??;
        }
    }

    /// With the bytes that it may have in a datagram. Nothing is said to what is no question: two that answer each other's answers would
    /// never end.
    fn answer(&self, asked: &[u8]) -> Option<(Message, u16)> {
        let &[high, low, flags, ..] = asked else {
            return None;
        };
        if asked.len() < 12 || flags & 0x80 != 0 {
            return None;
        }
        let id = u16::from_be_bytes([high, low]);
        let answer = match Message::from_vec(asked) {
            Ok(asked) => {
                let mut answer = self.answer_to(&asked);
                answer.metadata.id = id;
                answer.metadata.recursion_desired = asked.metadata.recursion_desired;
                answer.metadata.recursion_available = true;
                answer.queries = asked.queries.clone(); // in the same letters
                answer.edns = asked
                    .edns
                    .as_ref()
                    .map(|edns| our_edns(edns.flags().dnssec_ok));
                (answer, asked.max_payload().clamp(512, DATAGRAM))
            }
            Err(_) => {
                let code = ResponseCode::FormErr;
                (Message::error_msg(id, OpCode::Query, code), 512)
            }
        };
        self.answered.fetch_add(1, Relaxed);
        Some(answer)
    }

    fn answer_to(&self, asked: &Message) -> Message {
        let refused = |code| Message::error_msg(0, asked.metadata.op_code, code);
        if asked.metadata.op_code != OpCode::Query {
            return refused(ResponseCode::NotImp);
        }
        let [question] = &*asked.queries else {
            return refused(ResponseCode::FormErr);
        };
        let signed = asked
            .edns
            .as_ref()
            .is_some_and(|edns| edns.flags().dnssec_ok);
        let key = (question.clone(), signed, asked.metadata.checking_disabled);
        let known = self.cache.lock().unwrap().get(&key);
        if let Some(answer) = known {
            self.cached.fetch_add(1, Relaxed);
            return answer;
        }
        let Some(answer) = self.ask(&key) else {
            return refused(ResponseCode::ServFail);
        };
        self.cache.lock().unwrap().put(key, &answer);
        answer
    }

    /// `None` if nobody has answered in time.
    fn ask(&self, key: &Key) -> Option<Message> {
        let upstreams = self
            .options
            .upstreams
            .iter()
            .cycle()
            .take(ATTEMPTS.max(self.options.upstreams.len()));
        upstreams.copied().find_map(|upstream| {
            let mut question = Message::query();
            question.metadata.id = unguessable();
            question.metadata.recursion_desired = true;
            question.metadata.checking_disabled = key.2;
            question.add_query(key.0.clone()).set_edns(our_edns(key.1));
            let answer = timeout(self.options.timeout, || ask_one(upstream, &question));
            answer.ok()?.ok() // an error is that of one attempt
        })
    }
}

/// Waits for ever; if the answer is too long for a datagram, it is asked for again.
fn ask_one(upstream: SocketAddr, question: &Message) -> io::Result<Message> {
    let any: SocketAddr = match upstream {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(upstream)?;
    let bytes = encode(question, u16::MAX)?;
    socket.send(&bytes)?;
    let mut buf = [0; DATAGRAM as usize];
    let answer = loop {
        let length = socket.recv(&mut buf)?;
        if let Some(answer) = answer_among(&buf[..length], question) {
            break answer;
        }
    };
    if !answer.metadata.truncation {
        return Ok(answer);
    }
    let stream = TcpStream::connect(upstream)?;
    write_framed(&stream, &bytes)?;
    let answer = read_framed(&stream)?;
    answer_among(&answer, question).ok_or(ErrorKind::InvalidData.into())
}

/// `None` if it is not the answer to this question.
fn answer_among(bytes: &[u8], question: &Message) -> Option<Message> {
    let answer = Message::from_vec(bytes).ok()?;
    let is_ours = answer.metadata.message_type == MessageType::Response
        && answer.metadata.id == question.metadata.id
        && answer.queries == question.queries;
    is_ours.then_some(answer)
}

fn our_edns(signed: bool) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(DATAGRAM).set_dnssec_ok(signed);
    edns
}

/// The keys of std's hash maps are random, and not to be told from what they make.
fn unguessable() -> u16 {
    RandomState::new().build_hasher().finish() as u16
}

/// Within so many bytes: else it says that there is more.
fn encode(message: &Message, limit: u16) -> io::Result<Vec<u8>> {
    let bytes = message.to_vec().map_err(io::Error::other)?;
    if bytes.len() <= limit.into() {
        return Ok(bytes);
    }
    message.truncate().to_vec().map_err(io::Error::other)
}

fn read_framed(mut stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message)?;
    Ok(message)
}

fn write_framed(mut stream: &TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), message].concat())
}

// ---- the cache ----

/// By question, and by when they are stale: the numbers tell apart those that are so at the same time.
struct Cache {
    answers: HashMap<Key, (Message, Instant, Stale)>,
    stale: BTreeMap<Stale, Key>,
    serial: u64,
    limit: usize,
}

type Stale = (Instant, u64);

impl Cache {
    fn new(limit: usize) -> Cache {
        Cache {
            answers: HashMap::new(),
            stale: BTreeMap::new(),
            serial: 0,
            limit,
        }
    }

    /// As old as it is by now.
    fn get(&self, key: &Key) -> Option<Message> {
        let (answer, since, stale) = self.answers.get(key)?;
        let now = Instant::now();
        if now >= stale.0 {
            return None;
        }
        let mut answer = answer.clone();
        let age = (now - *since).as_secs() as u32;
        for record in records(&mut answer) {
            record.ttl = record.ttl.saturating_sub(age);
        }
        Some(answer)
    }

    fn put(&mut self, key: Key, answer: &Message) {
        let Some(time) = time_to_live(answer) else {
            return;
        };
        let now = Instant::now();
        self.serial += 1;
        let stale = (now + time, self.serial);
        let before = self
            .answers
            .insert(key.clone(), (answer.clone(), now, stale));
        if let Some((.., stale)) = before {
            self.stale.remove(&stale);
        }
        self.stale.insert(stale, key);
        if self.stale.len() > self.limit {
            let (_, key) = self.stale.pop_first().expect("there is one at least");
            self.answers.remove(&key);
        }
    }
}

fn records(answer: &mut Message) -> impl Iterator<Item = &mut Record> {
    let sections = [
        &mut answer.answers,
        &mut answer.authorities,
        &mut answer.additionals,
    ];
    sections.into_iter().flatten()
}

/// The least that a record says. That there is nothing is remembered for as long as the zone says (RFC 2308), and what has failed not at all.
fn time_to_live(answer: &Message) -> Option<Duration> {
    let nothing = answer.answers.is_empty();
    let code = answer.metadata.response_code;
    if !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) || answer.metadata.truncation
    {
        return None;
    }
    let soa = |record: &Record| match &record.data {
        RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
        _ => None,
    };
    let seconds = if nothing || code == ResponseCode::NXDomain {
        answer.authorities.iter().find_map(soa)
    } else {
        answer.all_sections().map(|record| record.ttl).min()
    };
    let time = Duration::from_secs(seconds?.into());
    (!time.is_zero()).then_some(time.min(MAX_TTL))
}

// ---- options ----

struct Options {
    upstreams: Vec<SocketAddr>,
    timeout: Duration,
    max_questions: usize,
    max_cached: usize,
    addr: String,
}

impl Options {
    fn parse() -> Result<Options, lexopt::Error> {
        use lexopt::prelude::*;
        let mut options = Options {
            upstreams: Vec::new(),
            timeout: Duration::from_secs(2),
            max_questions: 200,
            max_cached: 10_000,
            addr: "127.0.0.1:5353".into(),
        };
        let number = |value: NonZeroUsize| value.get();
        let mut parser = lexopt::Parser::from_env();
        while let Some(arg) = parser.next()? {
            match arg {
                Long("upstream") => options.upstreams.push(parser.value()?.parse()?),
                Long("timeout") => options.timeout = parser.value()?.parse_with(seconds)?,
                Long("max-questions") => options.max_questions = number(parser.value()?.parse()?),
                Long("max-cached") => options.max_cached = number(parser.value()?.parse()?),
                Short('h') | Long("help") => {
                    println!("{USAGE}");
                    process::exit(0);
                }
                Value(addr) => options.addr = addr.string()?,
                _ => return Err(arg.unexpected()),
            }
        }
        if options.upstreams.is_empty() {
            return Err("whom to ask? --upstream ADDR".into());
        }
        Ok(options)
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|error| format!("{error}"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
