//! A web server with a pool of workers, and the clients that try it: an ordinary program with threads.
//!
//! It knows nothing of tasks. `system` is what the module round this file calls so; see `tests/ported.rs`.

use super::system::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use super::system::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use super::system::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use super::system::sync::{
    Arc, Barrier, Condvar, LazyLock, Mutex, Once, OnceLock, PoisonError, RwLock,
};
use super::system::thread::{self, Builder, JoinHandle};
use super::system::time::{Duration, Instant};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};

const WORKERS: usize = 4;
const CLIENTS: usize = 8;
/// Requests for a slow page that are served at the same time.
const SLOW_AT_ONCE: usize = 2;
const LONGEST_BODY: usize = 1 << 16;
/// No request of an honest client takes so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// What has happened, but for its order.
#[derive(Debug, PartialEq)]
pub struct Summary {
    pub connections: usize,
    pub requests: usize,
    pub statuses: BTreeMap<u16, usize>,
    pub cache_hits: usize,
    pub cache_misses: usize,
    pub notes: BTreeSet<String>,
    pub bytes_sent: usize,
    pub crashes: usize,
    pub most_at_once_was_bounded: bool,
    pub workers: BTreeSet<String>,
    pub greeted: usize,
    pub checked_by_clients: usize,
}

/// Starts the server, lets the clients try it, and shuts it down.
pub fn run() -> io::Result<Summary> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = Arc::new(Server::new());
    let (events, log) = mpsc::sync_channel(8);
    let clerk = {
        let server = server.clone();
        Builder::new()
            .name("clerk".to_string())
            .spawn(move || keep_books(&server, &log))?
    };
    let acceptor = {
        let server = server.clone();
        Builder::new()
            .name("acceptor".to_string())
            .spawn(move || accept(&listener, &server, events))?
    };

    let checked = try_it(address);

    server.stopping.store(true, Ordering::SeqCst);
    // So that `accept` returns.
    drop(TcpStream::connect(address)?);
    let workers = acceptor.join().expect("the acceptor has panicked")?;
    let books = clerk.join().expect("the clerk has panicked");
    let crashes = *server
        .crashes
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let notes = server.notes.lock().unwrap().iter().cloned().collect();
    Ok(Summary {
        connections: server.connections.load(Ordering::SeqCst),
        requests: books.statuses.values().sum(),
        statuses: books.statuses,
        cache_hits: server.cache.hits.load(Ordering::Relaxed),
        cache_misses: server.cache.misses.load(Ordering::Relaxed),
        notes,
        bytes_sent: books.bytes,
        crashes,
        most_at_once_was_bounded: (1..=SLOW_AT_ONCE).contains(&server.slow.most()),
        workers,
        greeted: server.greeted.load(Ordering::SeqCst),
        checked_by_clients: checked,
    })
}

// ---- the pool ----

type Job = Box<dyn FnOnce() + Send + 'static>;

/// Workers that take jobs from one channel in turn. Dropping the pool waits for all jobs.
struct Pool {
    jobs: Option<Sender<Job>>,
    workers: Vec<JoinHandle<()>>,
}

impl Pool {
    fn new(size: usize) -> io::Result<Pool> {
        let (sender, receiver) = mpsc::channel::<Job>();
        let receiver = Arc::new(Mutex::new(receiver));
        let workers = (0..size).map(|number| {
            let receiver = Arc::clone(&receiver);
            Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || work(&receiver))
        });
        Ok(Pool {
            workers: workers.collect::<io::Result<_>>()?,
            jobs: Some(sender),
        })
    }

    fn execute(&self, job: impl FnOnce() + Send + 'static) {
        let jobs = self.jobs.as_ref().expect("there until the pool is dropped");
        jobs.send(Box::new(job)).expect("the workers wait for jobs");
    }

    fn names(&self) -> BTreeSet<String> {
        let name = |worker: &JoinHandle<()>| worker.thread().name().unwrap_or("?").to_string();
        self.workers.iter().map(name).collect()
    }
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    loop {
        // The lock is held while waiting, and not while working.
        let job = jobs.lock().unwrap().recv();
        match job {
            Ok(job) => job(),
            Err(mpsc::RecvError) => return,
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        drop(self.jobs.take());
        for worker in self.workers.drain(..) {
            worker.join().expect("a worker has panicked");
        }
    }
}

// ---- what the requests share ----

struct Server {
    stopping: AtomicBool,
    connections: AtomicUsize,
    cache: Cache,
    notes: Mutex<Vec<String>>,
    /// Requests that have crashed, with the lock in their hands.
    crashes: Mutex<usize>,
    slow: Turnstile,
    /// Events that were told to the clerk,
    told: AtomicUsize,
    /// and those that are in the books.
    booked: (Mutex<usize>, Condvar),
    greeting: Once,
    greeted: AtomicUsize,
    started: OnceLock<Instant>,
}

impl Server {
    fn new() -> Server {
        Server {
            stopping: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            cache: Cache::default(),
            notes: Mutex::default(),
            crashes: Mutex::new(0),
            slow: Turnstile::new(SLOW_AT_ONCE),
            told: AtomicUsize::new(0),
            booked: (Mutex::new(0), Condvar::new()),
            greeting: Once::new(),
            greeted: AtomicUsize::new(0),
            started: OnceLock::new(),
        }
    }
}

/// Answers that are kept; who works one out while another does so has found it, too.
#[derive(Default)]
struct Cache {
    known: RwLock<HashMap<u64, Arc<str>>>,
    hits: AtomicUsize,
    misses: AtomicUsize,
}

impl Cache {
    fn look_up(&self, key: u64, work_out: impl FnOnce() -> String) -> Arc<str> {
        if let Some(known) = self.known.read().unwrap().get(&key) {
            self.hits.fetch_add(1, Ordering::Relaxed);
            return known.clone();
        }
        thread::sleep(Duration::from_millis(1));
        let value: Arc<str> = work_out().into();
        let mut known = self.known.write().unwrap();
        // Another may have been faster.
        if let Some(known) = known.get(&key) {
            self.hits.fetch_add(1, Ordering::Relaxed);
            return known.clone();
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        known.insert(key, value.clone());
        value
    }
}

/// Lets in so many at a time.
struct Turnstile {
    /// How many are inside, and were at most.
    inside: Mutex<(usize, usize)>,
    changed: Condvar,
    room: usize,
}

struct Inside<'a>(&'a Turnstile);

impl Turnstile {
    fn new(room: usize) -> Turnstile {
        Turnstile {
            inside: Mutex::new((0, 0)),
            changed: Condvar::new(),
            room,
        }
    }

    fn enter(&self) -> Inside<'_> {
        let inside = self.inside.lock().unwrap();
        let mut inside = self
            .changed
            .wait_while(inside, |inside| inside.0 == self.room)
            .unwrap();
        inside.0 += 1;
        inside.1 = inside.1.max(inside.0);
        Inside(self)
    }

    fn most(&self) -> usize {
        self.inside.lock().unwrap().1
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.inside.lock().unwrap().0 -= 1;
        self.0.changed.notify_one();
    }
}

// ---- statistics ----

/// A response that was sent.
struct Event {
    status: u16,
    bytes: usize,
}

#[derive(Default)]
struct Books {
    statuses: BTreeMap<u16, usize>,
    bytes: usize,
}

/// Until nobody is left who could tell anything.
fn keep_books(server: &Server, log: &Receiver<Event>) -> Books {
    assert_eq!(thread::current().name(), Some("clerk"));
    let mut books = Books::default();
    loop {
        match log.recv_timeout(Duration::from_millis(2)) {
            Ok(event) => {
                *books.statuses.entry(event.status).or_default() += 1;
                books.bytes += event.bytes;
                *server.booked.0.lock().unwrap() += 1;
            }
            // A moment to tell those who wait.
            Err(RecvTimeoutError::Timeout) => server.booked.1.notify_all(),
            Err(RecvTimeoutError::Disconnected) => return books,
        }
    }
}

// ---- the server ----

fn accept(
    listener: &TcpListener,
    server: &Arc<Server>,
    events: SyncSender<Event>,
) -> io::Result<BTreeSet<String>> {
    let (hashing, asked) = mpsc::channel();
    let hasher = thread::spawn(move || hash_what_is_asked(asked));
    let pool = Pool::new(WORKERS)?;
    let workers = pool.names();
    for stream in listener.incoming() {
        let stream = stream?;
        if server.stopping.load(Ordering::SeqCst) {
            break;
        }
        server.connections.fetch_add(1, Ordering::SeqCst);
        let (server, events, hashing) = (server.clone(), events.clone(), hashing.clone());
        pool.execute(move || {
            let connection = Connection {
                server: &server,
                events: &events,
                hashing: &hashing,
            };
            // A client that goes away is no concern of ours.
            let _gone = connection.serve(&stream);
        });
    }
    drop(pool);
    drop(hashing);
    hasher.join().expect("the hasher has panicked");
    Ok(workers)
}

type Question = (String, Sender<u64>);

/// FNV-1a, for those who do not wish to count themselves.
fn hash_what_is_asked(questions: Receiver<Question>) {
    for (text, answer) in questions {
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        // Who has asked may have gone.
        let _unheard = answer.send(text.bytes().fold(0xcbf2_9ce4_8422_2325, step));
    }
}

struct Request {
    method: String,
    path: String,
    body: String,
    keep_alive: bool,
}

/// Why there is no request.
enum Bad {
    Malformed,
    TooLong,
    TooSlow,
    Gone(io::Error),
}

impl From<io::Error> for Bad {
    fn from(error: io::Error) -> Bad {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Bad::TooSlow,
            ErrorKind::InvalidData => Bad::Malformed,
            _ => Bad::Gone(error),
        }
    }
}

static REASONS: LazyLock<HashMap<u16, &'static str>> = LazyLock::new(|| {
    let reasons = [
        (200, "OK"),
        (201, "Created"),
        (400, "Bad Request"),
        (404, "Not Found"),
        (405, "Method Not Allowed"),
        (408, "Request Timeout"),
        (413, "Content Too Large"),
        (500, "Internal Server Error"),
    ];
    reasons.into_iter().collect()
});

struct Connection<'a> {
    server: &'a Server,
    events: &'a SyncSender<Event>,
    hashing: &'a Sender<Question>,
}

impl Connection<'_> {
    /// One request after another, until the client has enough.
    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        self.server.greeting.call_once(|| {
            self.server.greeted.fetch_add(1, Ordering::SeqCst);
        });
        let mut reader = BufReader::new(stream.try_clone()?);
        loop {
            let (status, body, goes_on) = match read_request(stream, &mut reader) {
                Ok(None) => return Ok(()),
                Ok(Some(request)) => {
                    let (status, body) = self.answer(&request);
                    (status, body, request.keep_alive)
                }
                Err(Bad::Malformed) => (400, "what?".to_string(), false),
                Err(Bad::TooLong) => (413, "too much".to_string(), false),
                Err(Bad::TooSlow) => (408, "too late".to_string(), false),
                Err(Bad::Gone(error)) => return Err(error),
            };
            self.respond(stream, status, &body, goes_on)?;
            if !goes_on {
                return stream.shutdown(Shutdown::Write);
            }
        }
    }

    fn respond(
        &self,
        mut stream: &TcpStream,
        status: u16,
        body: &str,
        goes_on: bool,
    ) -> io::Result<()> {
        // It counts before the client knows.
        self.server.told.fetch_add(1, Ordering::SeqCst);
        let event = Event {
            status,
            bytes: body.len(),
        };
        self.events
            .send(event)
            .expect("the clerk stays until the end");
        let connection = if goes_on { "keep-alive" } else { "close" };
        let head = format!(
            "HTTP/1.1 {status} {}\r\nContent-Length: {}\r\nConnection: {connection}\r\n\r\n",
            REASONS[&status],
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        stream.flush()
    }

    /// A request that crashes does not take its worker along.
    fn answer(&self, request: &Request) -> (u16, String) {
        catch_unwind(AssertUnwindSafe(|| self.route(request)))
            .unwrap_or_else(|_| (500, "something went wrong".to_string()))
    }

    fn route(&self, request: &Request) -> (u16, String) {
        let parts: Vec<_> = request.path.trim_matches('/').split('/').collect();
        match (request.method.as_str(), &parts[..]) {
            ("GET", [""]) => (200, "hello".to_string()),
            ("GET", ["fibonacci", number]) => match number.parse() {
                Ok(number) => (
                    200,
                    self.server
                        .cache
                        .look_up(number, || fibonacci(number))
                        .to_string(),
                ),
                Err(_) => (400, "not a number".to_string()),
            },
            ("POST", ["notes"]) => {
                let mut notes = self.server.notes.lock().unwrap();
                notes.push(request.body.clone());
                (201, "noted".to_string())
            }
            ("GET", ["notes"]) => {
                let notes = self.server.notes.lock().unwrap().len();
                (200, format!("{:04}", notes))
            }
            ("GET", ["hash", text]) => (200, format!("{:016x}", self.hash(text))),
            ("GET", ["slow"]) => {
                let _inside = self.server.slow.enter();
                thread::sleep(Duration::from_millis(1));
                (200, "at last".to_string())
            }
            ("GET", ["crash"]) => self.crash(),
            ("GET", ["books"]) => self.wait_for_the_books(),
            ("GET", ["uptime"]) => {
                let started = self.server.started.get_or_init(Instant::now);
                assert!(started.elapsed() < PATIENCE * 1000);
                (200, "long".to_string())
            }
            ("GET" | "POST", _) => (404, "there is no such page".to_string()),
            _ => (405, "not here".to_string()),
        }
    }

    fn hash(&self, text: &str) -> u64 {
        let (answer, answered) = mpsc::channel();
        self.hashing
            .send((text.to_string(), answer))
            .expect("the hasher waits for questions");
        answered.recv().expect("each question is answered")
    }

    fn crash(&self) -> ! {
        let crashes = &self.server.crashes;
        let mut count = crashes.lock().unwrap_or_else(|poisoned| {
            // A number is as good as before.
            crashes.clear_poison();
            poisoned.into_inner()
        });
        *count += 1;
        resume_unwind(Box::new("a crash"))
    }

    /// Until all is booked that has happened before.
    fn wait_for_the_books(&self) -> (u16, String) {
        let told = self.server.told.load(Ordering::SeqCst);
        let (booked, changed) = &self.server.booked;
        let behind = |booked: &mut usize| *booked < told;
        let (booked, result) = changed
            .wait_timeout_while(booked.lock().unwrap(), PATIENCE, behind)
            .unwrap();
        assert!(!result.timed_out() && *booked >= told);
        (200, "up to date".to_string())
    }
}

fn fibonacci(number: u64) -> String {
    let (value, _) = (0..number).fold((0_u64, 1_u64), |(a, b), _| (b, a.wrapping_add(b)));
    value.to_string()
}

/// `None` if the client has nothing more to ask.
fn read_request(stream: &TcpStream, reader: &mut impl BufRead) -> Result<Option<Request>, Bad> {
    let mut lines = reader.by_ref().lines();
    let Some(first) = lines.next().transpose()? else {
        return Ok(None);
    };
    let mut words = first.split(' ');
    let (Some(method), Some(path), Some("HTTP/1.1"), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Bad::Malformed);
    };
    let (mut length, mut keep_alive) = (0, true);
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(": ").ok_or(Bad::Malformed)?;
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().map_err(|_| Bad::Malformed)?,
            "connection" => keep_alive = value != "close",
            // For how long to wait for the body.
            "patience-ms" => {
                let patience = value
                    .parse()
                    .map(Duration::from_millis)
                    .map_err(|_| Bad::Malformed)?;
                stream.set_read_timeout(Some(patience))?;
            }
            _ => {}
        }
    }
    if length > LONGEST_BODY {
        return Err(Bad::TooLong);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = String::from_utf8(body).map_err(|_| Bad::Malformed)?;
    Ok(Some(Request {
        method: method.to_string(),
        path: path.to_string(),
        body,
        keep_alive,
    }))
}

// ---- the clients ----

/// All of them at the same time. Gives how many responses were as they should be.
fn try_it(address: SocketAddr) -> usize {
    let together = Barrier::new(CLIENTS);
    let leaders = AtomicUsize::new(0);
    let checked = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (together, leaders) = (&together, &leaders);
                scope.spawn(move || {
                    let leads = together.wait().is_leader();
                    leaders.fetch_add(usize::from(leads), Ordering::SeqCst);
                    client(address, number).expect("the server answers")
                })
            })
            .collect();
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .sum()
    });
    assert_eq!(leaders.into_inner(), 1);
    checked
}

struct Client {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
    checked: usize,
}

impl Client {
    fn connect(address: SocketAddr, checked: usize) -> io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let reader = BufReader::new(stream.try_clone()?);
        Ok(Client {
            stream,
            reader,
            checked,
        })
    }

    /// Sends something, and expects that.
    fn expect(&mut self, request: &str, status: u16, body: &str) -> io::Result<()> {
        self.stream.write_all(request.as_bytes())?;
        let answer = self.response()?;
        assert_eq!(answer, (status, body.to_string()), "{request}");
        self.checked += 1;
        Ok(())
    }

    fn get(&mut self, path: &str, status: u16, body: &str) -> io::Result<()> {
        self.expect(
            &format!("GET {path} HTTP/1.1\r\nHost: here\r\n\r\n"),
            status,
            body,
        )
    }

    fn response(&mut self) -> io::Result<(u16, String)> {
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        let status = line
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let mut length = 0;
        loop {
            line.clear();
            self.reader.read_line(&mut line)?;
            match line.trim_end().split_once(": ") {
                Some(("Content-Length", value)) => length = value.parse().unwrap(),
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body)?;
        let status = status.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "no status"))?;
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    /// The server has said its last word. Gives what was checked so far.
    fn ends(mut self) -> io::Result<usize> {
        let mut rest = Vec::new();
        self.reader.read_to_end(&mut rest)?;
        assert!(rest.is_empty());
        Ok(self.checked)
    }
}

/// A polite conversation, and then some that are not.
fn client(address: SocketAddr, number: usize) -> io::Result<usize> {
    let mut talk = Client::connect(address, 0)?;
    talk.get("/", 200, "hello")?;
    for (n, value) in [(10, "55"), (50, "12586269025"), (90, "2880067194370816120")] {
        talk.get(&format!("/fibonacci/{n}"), 200, value)?;
    }
    talk.get("/fibonacci/many", 400, "not a number")?;
    talk.get("/nowhere", 404, "there is no such page")?;
    for part in 0..3 {
        let note = format!(
            "note {part} of client {number}\n{}",
            "…".repeat(part * 1000)
        );
        let post = format!(
            "POST /notes HTTP/1.1\r\nContent-Length: {}\r\n\r\n{note}",
            note.len()
        );
        talk.expect(&post, 201, "noted")?;
    }
    talk.get("/hash/a", 200, "af63dc4c8601ec8c")?;
    talk.get("/slow", 200, "at last")?;
    talk.get("/crash", 500, "something went wrong")?;
    talk.get("/books", 200, "up to date")?;
    talk.get("/uptime", 200, "long")?;
    talk.expect("PUT / HTTP/1.1\r\n\r\n", 405, "not here")?;
    talk.expect(
        "GET /slow HTTP/1.1\r\nConnection: close\r\n\r\n",
        200,
        "at last",
    )?;
    let checked = talk.ends()?;

    let mut rude = Client::connect(address, checked)?;
    rude.expect("let me in\r\n", 400, "what?")?;
    let checked = rude.ends()?;

    let mut talkative = Client::connect(address, checked)?;
    let threat = format!(
        "POST /notes HTTP/1.1\r\nContent-Length: {}\r\n\r\n",
        LONGEST_BODY + 1
    );
    talkative.expect(&threat, 413, "too much")?;
    let checked = talkative.ends()?;

    let mut slow = Client::connect(address, checked)?;
    slow.expect(
        "POST /notes HTTP/1.1\r\nPatience-Ms: 5\r\nContent-Length: 9\r\n\r\nnote",
        408,
        "too late",
    )?;
    let checked = slow.ends()?;

    // One that changes its mind.
    let shy = TcpStream::connect(address)?;
    shy.shutdown(Shutdown::Write)?;
    assert_eq!((&shy).read(&mut [0; 1])?, 0);
    Ok(checked)
}
