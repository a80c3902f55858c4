//! A small program that uses much of the library, written as a good one is: it handles every error, it cleans up in
//! destructors, and who cannot go on lets go those who wait for him.
//!
//! It has parts, each a task with tasks of its own, which have nothing to do with each other: what happens to one concerns no
//! other. A part that comes to its end has kept books, and they must balance, whether it succeeded or not.

use crate::common::{OnDrop, LONG};
use crate::{meetings, sockets};
use multitask::faults::Panic;
use multitask::net::{TcpListener, TcpStream};
use multitask::process::{Command, Stdio};
use multitask::sync::{mpmc, mpsc, oneshot, Condvar, Mutex, Queue, RwLock, Semaphore, WaitGroup};
use multitask::task::{self, Builder, JoinSet, Scope, ScopedJoinHandle};
use multitask::{
    fs, io, select, sleep, timeout, yield_now, Handle, JoinError, JoinHandle, Scheduler, Stats,
    Unfinished,
};
use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// Why a part could not do what it is there for.
pub type Failure = Box<dyn Error + Send + Sync>;

/// How the scenario is played.
#[derive(Clone)]
pub struct Stage {
    pub workers: usize,
    /// How much there is to do: clients, messages.
    pub size: usize,
    /// Of its own.
    pub folder: PathBuf,
    /// Whether a panic may have passed.
    pub may_panic: bool,
}

type Part = fn(&Stage) -> Result<(), Failure>;

const PARTS: &[(&str, Part)] = &[
    ("echo", echo),
    ("pipeline", pipeline),
    ("locks", locks),
    ("choices", choices),
    ("child", child),
    ("files", files),
    ("family", family),
    ("unix", sockets::unix),
    ("datagrams", sockets::datagrams),
    ("served", sockets::served),
    ("named", sockets::named),
    ("meeting", meetings::meeting),
    ("clocks", meetings::clocks),
    ("futures", meetings::futures),
    ("told by the system", meetings::told_by_the_system),
];

/// What came of each part.
pub type Outcomes = Vec<(&'static str, Result<(), Failure>)>;

/// Plays it to its end: what came of each part, or why there was no scheduler for it.
///
/// # Panics
/// A promise was broken.
pub fn play(stage: &Stage) -> Result<Outcomes, Failure> {
    let scheduler = Scheduler::builder().workers(stage.workers).build()?;
    *PLAYING.lock().unwrap() = Some(scheduler.handle());
    let _over = OnDrop(|| drop(PLAYING.lock().unwrap().take()));
    let begin = |&(name, part): &(&'static str, Part)| {
        let stage = stage.clone();
        let named = Builder::new().name(name.to_owned());
        (name, named.spawn_on(&scheduler, move || part(&stage)))
    };
    let parts: Vec<_> = PARTS.iter().map(begin).collect();
    scheduler
        .run()
        .unwrap_or_else(|deadlock| panic!("stuck: {deadlock}"));
    // Nobody counts as waiting for anything, either.
    assert_eq!(scheduler.stats(), Stats::default());
    let ended = |task: JoinHandle<_>| {
        assert!(task.is_finished(), "it ran until all had ended");
        joined(task.join())?
    };
    let outcomes = parts
        .into_iter()
        .map(|(name, task)| (name, task.map_err(Failure::from).and_then(ended)));
    Ok(outcomes.collect())
}

/// The scheduler that plays it now.
static PLAYING: std::sync::Mutex<Option<Handle>> = std::sync::Mutex::new(None);

/// Cancels all tasks of the play.
///
/// # Errors
/// Who does not end after that.
pub fn cancel_all() -> Result<(), Unfinished> {
    let playing = PLAYING.lock().unwrap().clone();
    playing.map_or(Ok(()), |handle| {
        handle.shutdown(Instant::now() + Duration::from_secs(1))
    })
}

/// Beginnings of what the library says that it panics with when something is missing.
const SAID_TO_PANIC: [&str; 2] = ["no stack for the task", "no thread for a call that blocks"];

/// What a task answered. A panic that nobody ordered goes on.
pub fn joined<T>(answer: Result<T, JoinError>) -> Result<T, Failure> {
    answer.map_err(|error| match error {
        JoinError::Cancelled => "it was cancelled".into(),
        JoinError::Panic(payload) if payload.is::<Panic>() => "it panicked".into(),
        JoinError::Panic(payload) => match payload.downcast::<String>() {
            Ok(text) if SAID_TO_PANIC.iter().any(|said| text.starts_with(said)) => (*text).into(),
            Ok(text) => resume_unwind(text),
            Err(other) => resume_unwind(other),
        },
    })
}

/// Of several failures the first; all are waited for.
pub fn all(outcomes: impl IntoIterator<Item = Result<(), Failure>>) -> Result<(), Failure> {
    outcomes.into_iter().fold(Ok(()), Result::and)
}

pub type Member<'scope> = Result<ScopedJoinHandle<'scope, Result<(), Failure>>, Failure>;

pub fn begin<'scope>(
    scope: &'scope Scope<'scope, '_>,
    f: impl FnOnce() -> Result<(), Failure> + Send + 'scope,
) -> Member<'scope> {
    Ok(Builder::new().spawn_scoped(scope, f)?)
}

pub fn end(member: Member<'_>) -> Result<(), Failure> {
    joined(member?.join())?
}

// ---- a server and its clients ----

fn echo(stage: &Stage) -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let served = AtomicUsize::new(0);
    let outcome = task::scope(|s| {
        let served = &served;
        // The server goes on until it is told.
        let _ends = OnDrop(|| s.cancel());
        let server = begin(s, move || accept_all(&listener, served))?;
        let clients: Vec<_> = (0..stage.size)
            .map(|n| begin(s, move || timeout(LONG, || converse(address, n))?))
            .collect();
        let clients = all(clients.into_iter().map(end));
        server.cancel();
        match server.join() {
            Err(JoinError::Cancelled) => clients,
            other => clients.and(joined(other)?),
        }
    });
    outcome?;
    if served.load(SeqCst) != stage.size {
        return Err("who served a client did not come to the end of it".into());
    }
    Ok(())
}

fn accept_all(listener: &TcpListener, served: &AtomicUsize) -> Result<(), Failure> {
    let mut troubles = 0;
    task::scope(|s| loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            // It concerns one connection, or passes.
            Err(_) if troubles < 3 => {
                troubles += 1;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        // Without a task for it the connection is closed, and its client told so by that.
        let _handler = begin(s, || {
            let stream = stream;
            let _served = repeat_lines(&stream).map(|()| served.fetch_add(1, SeqCst));
            Ok(())
        });
    })
}

pub fn repeat_lines(stream: &TcpStream) -> Result<(), Failure> {
    stream.set_read_timeout(Some(LONG))?;
    let mut lines = BufReader::new(stream);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        let mut stream = stream;
        stream.write_all(&line)?;
        line.clear();
    }
    Ok(())
}

pub fn converse(address: SocketAddr, number: usize) -> Result<(), Failure> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(LONG))?;
    let mut answers = BufReader::new(&stream);
    for round in 0..2 {
        let line = format!("line {round} of client {number}\n");
        (&stream).write_all(line.as_bytes())?;
        let mut answer = String::new();
        answers.read_line(&mut answer)?;
        if answer != line {
            assert!(!answer.ends_with('\n') && line.starts_with(&answer));
            return Err("the server has gone".into());
        }
    }
    stream.shutdown(Shutdown::Write)?;
    let mut rest = Vec::new();
    answers.read_to_end(&mut rest)?;
    assert_eq!(rest, b"");
    Ok(())
}

// ---- messages, from hand to hand ----

/// What has become of each message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Made,
    Received,
    /// Given back to who could not send it.
    Returned,
    /// Found where it had been put, with nobody to take it out.
    Left,
    /// Dropped by who was interrupted.
    Fallen,
}

#[derive(Clone, Default)]
struct Ledger(Arc<std::sync::Mutex<BTreeMap<usize, Fate>>>);

struct Message {
    number: usize,
    ledger: Ledger,
    fate: Fate,
}

impl Ledger {
    fn message(&self) -> Message {
        let mut fates = self.0.lock().unwrap();
        let number = fates.len();
        fates.insert(number, Fate::Made);
        Message {
            number,
            ledger: self.clone(),
            fate: Fate::Fallen,
        }
    }

    fn count(&self, fate: Fate) -> usize {
        let fates = self.0.lock().unwrap();
        fates.values().filter(|&&other| other == fate).count()
    }
}

impl Message {
    fn ends_as(mut self, fate: Fate) {
        self.fate = fate;
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        let old = self.ledger.0.lock().unwrap().insert(self.number, self.fate);
        assert_eq!(old, Some(Fate::Made), "message {} ends once", self.number);
    }
}

/// What is in the channel when its receiver goes is not lost but known.
struct Receiving(mpsc::Receiver<Message>);

impl Drop for Receiving {
    fn drop(&mut self) {
        for message in self.0.try_iter() {
            message.ends_as(Fate::Left);
        }
    }
}

fn pipeline(stage: &Stage) -> Result<(), Failure> {
    let (ledger, size) = (Ledger::default(), stage.size);
    let queue = Queue::bounded(2);
    let make = || {
        for _ in 0..size {
            if let Err(unsent) = queue.put_timeout(ledger.message(), LONG) {
                unsent.into_inner().ends_as(Fate::Returned);
                return Err("nobody takes it out".into());
            }
        }
        Ok(())
    };
    let outcome = task::scope(|s| {
        let (sender, receiver) = mpsc::sync_channel(1);
        let queue = &queue;
        // Whoever is left finds the end of it.
        let shuts = OnDrop(|| queue.close());
        let makers = [begin(s, make), begin(s, make)];
        let carrier_shuts = OnDrop(|| queue.close());
        let carrier = begin(s, move || {
            let _shuts = carrier_shuts;
            while let Ok(message) = queue.get() {
                if let Err(unsent) = sender.send(message) {
                    unsent.0.ends_as(Fate::Returned);
                    return Err("nobody receives".into());
                }
            }
            Ok(())
        });
        let receiver = Receiving(receiver);
        let taker = begin(s, move || {
            let receiver = receiver;
            loop {
                match receiver.0.recv_timeout(LONG) {
                    Ok(message) => message.ends_as(Fate::Received),
                    Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
                    Err(mpsc::RecvTimeoutError::Timeout) => return Err("none came".into()),
                }
            }
        });
        let made = all(makers.map(end));
        drop(shuts);
        all([made, end(carrier), end(taker)])
    });
    for message in queue.try_iter() {
        message.ends_as(Fate::Left);
    }
    assert_eq!(ledger.count(Fate::Made), 0, "each is somewhere");
    let fallen = ledger.count(Fate::Fallen);
    assert!(fallen <= usize::from(outcome.is_err()), "{fallen} are lost");
    if outcome.is_ok() {
        assert_eq!(ledger.count(Fate::Received), 2 * size);
    }
    outcome
}

// ---- locks, held while others run ----

struct Locked {
    permits: Semaphore,
    /// Equal whenever nobody has it.
    account: Mutex<(usize, usize)>,
    list: RwLock<Vec<usize>>,
    arrived: Mutex<usize>,
    arrival: Condvar,
}

const WORKERS: usize = 3;

fn locks(stage: &Stage) -> Result<(), Failure> {
    let locked = Locked {
        permits: Semaphore::new(2),
        account: Mutex::new((0, 0)),
        list: RwLock::new(Vec::new()),
        arrived: Mutex::new(0),
        arrival: Condvar::new(),
    };
    let outcome = task::scope(|s| {
        let members: Vec<_> = (0..WORKERS)
            .map(|n| {
                let locked = &locked;
                // Whether it gets there, or is cut short, or cannot begin.
                let arrives = OnDrop(move || {
                    *locked
                        .arrived
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner) += 1;
                    locked.arrival.notify_all();
                });
                begin(s, move || {
                    use_locks(locked, n)?;
                    drop(arrives);
                    locked.await_all()
                })
            })
            .collect();
        all(members.into_iter().map(end))
    });
    assert_eq!(locked.permits.available_permits(), 2, "permits are back");
    let poisoned = [
        locked.account.is_poisoned(),
        locked.list.is_poisoned(),
        locked.arrived.is_poisoned(),
    ];
    assert!(stage.may_panic || poisoned == [false; 3], "{poisoned:?}");
    locked.account.clear_poison();
    locked.list.clear_poison();
    locked.arrived.clear_poison();
    let account = *locked.account.try_lock().expect("nobody has it");
    assert_eq!(account.0, account.1);
    assert!(locked.list.try_write().is_ok(), "nobody has it");
    assert_eq!(*locked.arrived.try_lock().expect("nobody has it"), WORKERS);
    if outcome.is_ok() {
        assert_eq!(account.0, WORKERS);
    }
    outcome
}

fn use_locks(locked: &Locked, number: usize) -> Result<(), Failure> {
    let _permit = locked.permits.acquire_timeout(LONG)?;
    let mut account = locked
        .account
        .lock_timeout(LONG)
        .map_err(|error| error.to_string())?;
    account.0 += 1;
    // It is never left half done.
    let _evens_out = OnDrop(|| account.1 += 1);
    yield_now();
    {
        let mut list = locked.list.write().unwrap_or_else(PoisonError::into_inner);
        yield_now();
        list.push(number);
    }
    let list = locked.list.read().unwrap_or_else(PoisonError::into_inner);
    yield_now();
    assert!(list.contains(&number));
    Ok(())
}

impl Locked {
    fn await_all(&self) -> Result<(), Failure> {
        let arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        let (_arrived, waited) = self
            .arrival
            .wait_timeout_while(arrived, LONG, |arrived| *arrived < WORKERS)
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return Err("not all have come".into());
        }
        Ok(())
    }
}

// ---- the first of several ----

fn choices(stage: &Stage) -> Result<(), Failure> {
    let ledger = Ledger::default();
    let outcome = task::scope(|s| {
        let (left, lefts) = mpmc::sync_channel(0);
        let (right, rights) = mpmc::sync_channel(1);
        let (stop, stopped) = oneshot::channel();
        let send = |sender: mpmc::Sender<Message>| {
            let (ledger, size) = (&ledger, stage.size);
            begin(s, move || {
                for _ in 0..size {
                    if let Err(unsent) = sender.send(ledger.message()) {
                        unsent.0.ends_as(Fate::Returned);
                        return Err("nobody chooses".into());
                    }
                    yield_now();
                }
                Ok(())
            })
        };
        let chooser = begin(s, move || {
            // If both have something to say when it goes, it has to be taken out, too.
            let drain = |messages: &mpmc::Receiver<Message>| {
                messages
                    .try_iter()
                    .for_each(|message| message.ends_as(Fate::Left));
            };
            let _drains = OnDrop(|| (drain(&lefts), drain(&rights)).0);
            let mut open = [true; 2];
            while open != [false; 2] {
                select! {
                    recv(lefts) -> message => match message {
                        Ok(message) => message.ends_as(Fate::Received),
                        Err(_) => open[0] = false,
                    },
                    recv(rights) -> message => match message {
                        Ok(message) => message.ends_as(Fate::Received),
                        Err(_) => open[1] = false,
                    },
                    after(LONG) => return Err("nothing came".into()),
                }
            }
            stop.send(()).map_err(|_| "nobody waits for it")?;
            Ok(())
        });
        let senders = [send(left), send(right)];
        let told = timeout(LONG, || stopped.recv());
        let outcome = all(senders.map(end).into_iter().chain([end(chooser)]));
        outcome.and(told?.map_err(Failure::from))
    });
    assert_eq!(ledger.count(Fate::Made), 0, "each is somewhere");
    let fallen = ledger.count(Fate::Fallen);
    assert!(fallen <= usize::from(outcome.is_err()), "{fallen} are lost");
    if outcome.is_ok() {
        assert_eq!(ledger.count(Fate::Received), 2 * stage.size);
    }
    outcome
}

// ---- a child process ----

fn child(_: &Stage) -> Result<(), Failure> {
    let mut cat = Command::new("cat");
    cat.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut cat = cat.kill_on_drop(true).spawn()?;
    let (mut stdin, stdout) = (cat.stdin.take().unwrap(), cat.stdout.take().unwrap());
    let mut answers = BufReader::new(stdout);
    for line in ["one\n", "another\n"] {
        stdin.write_all(line.as_bytes())?;
        let mut answer = String::new();
        timeout(LONG, || answers.read_line(&mut answer))??;
        assert_eq!(answer, line);
    }
    drop(stdin);
    let mut rest = String::new();
    answers.read_to_string(&mut rest)?;
    assert_eq!(rest, "");
    assert!(cat.wait_timeout(LONG)?.success());
    Ok(())
}

// ---- a pipe, a file, a call that blocks ----

fn files(stage: &Stage) -> Result<(), Failure> {
    let (mut reader, writer) = io::pipe()?;
    task::scope(|s| {
        let writes = begin(s, move || {
            let mut writer = writer;
            for _ in 0..3 {
                writer.write_all(b"through a pipe\n")?;
                yield_now();
            }
            Ok(())
        });
        let mut text = String::new();
        let read = reader.read_to_string(&mut text).map_err(Failure::from);
        // Who writes is told that nobody reads any more.
        drop(reader);
        all([read.map(drop), end(writes)])?;
        assert_eq!(text, "through a pipe\n".repeat(3));
        Ok::<(), Failure>(())
    })?;
    let path = stage.folder.join("file");
    let _removes = OnDrop(|| remove(&path));
    fs::write(&path, "into a file")?;
    assert_eq!(fs::read_to_string(&path)?, "into a file");
    let length = task::blocking(|| std::fs::metadata(&path).map(|file| file.len()))?;
    assert_eq!(length, 11);
    Ok(())
}

pub fn remove(path: &Path) {
    let _gone = std::fs::remove_file(path);
}

// ---- tasks and their tasks ----

fn family(stage: &Stage) -> Result<(), Failure> {
    let ended = Arc::new(AtomicUsize::new(0));
    let group = WaitGroup::new();
    let mut set = JoinSet::new();
    for n in 0..stage.size {
        let (ended, group) = (ended.clone(), group.clone());
        // Stacks of another size, for which room has to be made.
        let small = Builder::new().stack_size(32 << 10 << (n % 2));
        set.spawn_with(small, move || {
            let _group = group;
            let _ended = OnDrop(|| {
                ended.fetch_add(1, SeqCst);
            });
            let grandchild = Builder::new().spawn(move || {
                (0..n).for_each(|_| yield_now());
                n
            })?;
            assert_eq!(joined(grandchild.join())?, n);
            Ok::<(), Failure>(())
        })?;
    }
    let slept = timeout(LONG, || {
        timeout(LONG, || sleep(Duration::from_micros(50)))?;
        task::shield(yield_now);
        group.wait();
        Ok::<(), Failure>(())
    });
    let mut outcome = slept?;
    while let Some(member) = set.join_next() {
        outcome = outcome.and(joined(member)?);
    }
    assert_eq!(ended.load(SeqCst), stage.size, "each has ended");
    outcome?;
    // Whoever drops the set cancels those that are left.
    let endless = || loop {
        task::park();
    };
    set.spawn_with(Builder::new(), endless)?;
    yield_now();
    set.cancel_all();
    match set.join_next() {
        Some(Err(JoinError::Cancelled)) | None => Ok(()),
        Some(other) => joined(other)?,
    }
}
