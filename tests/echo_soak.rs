//! An echo server and clients of all kinds, up to 10,000 at a time as far as descriptors allow: they converse, stall, say nothing,
//! reset the connection, close half of it, read slowly or never, go away; and at both ends tasks are cancelled wherever they are. All reads and
//! writes have time limits. Afterwards every byte is accounted for (see `books`), memory has stayed flat (see `common/flat.rs`; judged
//! in runs of ten minutes and more), and no descriptor, task or stack is left, nor memory for all that came.
//!
//! `MULTITASK_SOAK` is how many seconds clients come, 8 if nothing is said, and 0 is none; `MULTITASK_SEED` the seed,
//! which is printed. It fixes what everybody does, not when the system lets him do it. No claim here depends on how fast that is: a
//! process that is stopped for a while finds more clients timed out, and the books say what has to be true of those.

#[path = "echo_soak/books.rs"]
mod books;
#[path = "echo_soak/clients.rs"]
mod clients;
mod common;
#[path = "echo_soak/server.rs"]
mod server;

use books::Books;
use common::flat::{Belongings, Samples};
use common::Random;
use multitask::net::{Incident, Server, SocketAddr};
use multitask::sync::Semaphore;
use multitask::{sleep, spawn};
use rlimit::Resource;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, io, panic, process};

/// Clients at a time.
const CROWD: u64 = 10_000;
/// Descriptors for all but connections, each of which takes two.
const SPARE: u64 = 200;
/// Bytes of memory that may be left at the end: so many, and so many for each client of the most at a time.
const KEPT: u64 = 4 << 20;
const KEPT_EACH: u64 = 4 << 10;
/// Clients that come in a second, at most.
const RUSH: f64 = 1500.0;
/// Clients whom the server has not let in yet, at most: where it gets little of the processor they would else wait for longer than they can.
const THRONG: u64 = 200;
/// The first number of a connection: `127.0.1.0`.
const FIRST: u32 = 256;

/// What everybody knows.
pub struct World {
    pub books: Arc<Books>,
    pub addr: SocketAddr,
    /// Of the server with a client that is silent, or does not read.
    pub patience: Duration,
    seed: u64,
    cancelled: AtomicU64,
    /// Clients that do not know yet whether they are connected.
    connecting: AtomicU64,
    /// Clients that were connected.
    pub connected: AtomicU64,
    /// Connections whose handler has begun.
    pub accepted: AtomicU64,
    /// Times at which the server could accept nobody.
    pauses: AtomicU64,
    /// Clients who could not connect.
    unconnected: AtomicU64,
}

fn main() {
    if env::args().any(|argument| argument == "--ignored") {
        return; // none is
    }
    let seconds = number("MULTITASK_SOAK").unwrap_or(8);
    let seed = number("MULTITASK_SEED").unwrap_or_else(|| RandomState::new().hash_one(0) >> 16);
    println!("MULTITASK_SEED={seed} MULTITASK_SOAK={seconds}");
    if seconds == 0 {
        return;
    }
    // A panic in a task nobody waits for would otherwise be a line that nobody reads.
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        report(info);
        eprintln!("MULTITASK_SEED={seed}");
        process::abort();
    }));
    // What a scheduler leaves in the process for good: threads have their own part of the heap.
    soak(seed, Duration::from_secs(1));
    let before = Belongings::now();
    let peak = soak(seed, Duration::from_secs(seconds));
    let after = Belongings::now();
    println!("before: {before:?}\nafter:  {after:?}");
    assert_eq!(after.descriptors, before.descriptors);
    // A single stack that is not given back keeps all mappings of its pool.
    let grown = after.mapped.saturating_sub(before.mapped);
    let taken = peak.mapped.saturating_sub(before.mapped);
    assert!(
        grown < taken / 4,
        "{grown} of {taken} bytes of stacks are left"
    );
    // What is recycled but never freed is for as many as there were at a time, not for all that came.
    let grown = after.resident.saturating_sub(before.resident);
    let kept = KEPT + KEPT_EACH * peak.clients as u64;
    // AddressSanitizer keeps what was freed for a while, to know it.
    let is_kept = cfg!(multitask_asan);
    assert!(
        is_kept || grown < kept,
        "{grown} bytes are left, {kept} may be"
    );
    println!("ok");
}

/// The most that there was at a time.
struct Peak {
    clients: usize,
    /// Bytes of address space.
    mapped: u64,
}

fn soak(seed: u64, time: Duration) -> Peak {
    let scheduler = common::scheduler();
    let peak = scheduler.block_on(move || attend(seed, time));
    scheduler.run().unwrap();
    assert_eq!(scheduler.stats().live, 0);
    peak
}

fn attend(seed: u64, time: Duration) -> Peak {
    let server = Server::bind("127.0.0.1:0").unwrap();
    let world = Arc::new(World {
        books: Arc::default(),
        addr: server.local_addr().unwrap(),
        patience: (time / 10).clamp(Duration::from_millis(200), Duration::from_secs(20)),
        seed,
        cancelled: AtomicU64::new(0),
        connecting: AtomicU64::new(0),
        connected: AtomicU64::new(0),
        accepted: AtomicU64::new(0),
        pauses: AtomicU64::new(0),
        unconnected: AtomicU64::new(0),
    });
    let handle = server.handle();
    let watches = world.clone();
    let server = server.on_incident(move |incident| match incident {
        Incident::Paused(error) if error.raw_os_error() == Some(libc::EMFILE) => {
            watches.pauses.fetch_add(1, SeqCst);
        }
        other => panic!("{other}"),
    });
    let serves = world.clone();
    let serving =
        spawn(move || server.serve(move |stream, peer| server::serve(&serves, stream, peer)));

    let guests = Guests::invite(&world, time);
    // Who has connected is let in before the server stops, for a server that has no time resets those who wait.
    while world.throng() > 0 {
        sleep(Duration::from_millis(1));
    }
    // Of those that are still there some come to their end in good order, and some are cut off.
    handle.stop(world.patience / 2);
    let report = serving.join().unwrap().unwrap();
    guests.wait();

    let connections = world.books.balance();
    println!(
        "{}\n{} clients, {} at a time, {} of them cancelled, {} without a connection; {} pauses of the server\n{report:?}",
        world.books,
        guests.came,
        guests.peak.clients,
        world.cancelled.load(SeqCst),
        world.unconnected.load(SeqCst),
        world.pauses.load(SeqCst),
    );
    assert_eq!(report.finished + report.cancelled, connections);
    assert_eq!((report.failed, report.panicked), (0, 0));
    guests.peak
}

/// The clients of a server.
struct Guests {
    came: u32,
    peak: Peak,
    places: usize,
    room: Arc<Semaphore>,
}

impl Guests {
    /// Has clients come for so long, and watches the memory.
    fn invite(world: &Arc<World>, time: Duration) -> Guests {
        let places = crowd();
        let mut guests = Guests {
            came: 0,
            peak: Peak {
                clients: 0,
                mapped: 0,
            },
            places,
            room: Arc::new(Semaphore::new(places)),
        };
        // There is a client for each place as a rule: few stay for as long as the server has patience.
        let rush = (2.0 * places as f64 / world.patience.as_secs_f64()).min(RUSH);
        let start = Instant::now();
        let warm = start + (time / 2).min(Duration::from_secs(300));
        let (mut resident, mut mapped) = (Samples::new(), Samples::new());
        let (mut last, mut sampled, mut told) = (start, start, start);
        while start.elapsed() < time {
            sleep(Duration::from_millis(20));
            let now = Instant::now();
            // After a standstill there is no crush.
            let due = now.duration_since(last).min(Duration::from_millis(100));
            last = now;
            for _ in 0..(due.as_secs_f64() * rush).ceil() as u32 {
                guests.welcome(world);
            }
            if now.duration_since(sampled) >= Duration::from_secs(1) {
                sampled = now;
                let has = Belongings::now();
                if now.duration_since(told) >= Duration::from_secs(60) {
                    told = now;
                    let (came, present) = (guests.came, guests.present());
                    println!("{came} clients so far, {present} are here, {has:?}");
                }
                guests.peak.mapped = guests.peak.mapped.max(has.mapped);
                if now > warm {
                    resident.add_under(guests.present(), has.resident);
                    mapped.add_under(guests.present(), has.mapped);
                }
            }
        }
        // A short run is not over its beginnings, in which there are more and more at a time.
        if time >= Duration::from_secs(600) {
            resident.assert_flat("resident memory", 0.02);
            mapped.assert_flat("address space", 0.02);
        }
        guests
    }

    /// Lets one more in, if there is room, and no throng before the door.
    fn welcome(&mut self, world: &Arc<World>) {
        if world.throng() > THRONG {
            return;
        }
        let Ok(place) = self.room.clone().try_acquire_owned() else {
            return;
        };
        let number = FIRST + self.came;
        assert!(number < 0x00ff_ffff, "there are no more addresses");
        self.came += 1;
        self.peak.clients = self.peak.clients.max(self.present());
        let connecting = Connecting::begin(world);
        let host = world.clone();
        let client = spawn(move || {
            let _place = place;
            clients::run(&host, number, connecting);
        });
        let mut random = world.random("guest", number);
        if random.below(8) == 0 {
            let moment = world.within(&mut random, 2.0);
            let world = world.clone();
            spawn(move || {
                sleep(moment);
                if !client.is_finished() {
                    client.cancel();
                    world.cancelled.fetch_add(1, SeqCst);
                }
            });
        }
    }

    fn present(&self) -> usize {
        self.places - self.room.available_permits()
    }

    /// Until all have gone.
    fn wait(&self) {
        drop(self.room.acquire_many(self.places).unwrap());
    }
}

impl World {
    /// The numbers of one who takes part.
    fn random(&self, who: &str, number: u32) -> Random {
        let salt = who.bytes().fold(u64::from(number), |salt, byte| {
            salt.wrapping_mul(257).wrapping_add(u64::from(byte))
        });
        Random::new(self.seed ^ salt)
    }

    /// How many the server has not let in yet.
    fn throng(&self) -> u64 {
        let accepted = self.accepted.load(SeqCst);
        let waiting = self.connected.load(SeqCst).saturating_sub(accepted);
        waiting + self.connecting.load(SeqCst)
    }

    /// Up to this share of the server's patience.
    fn within(&self, random: &mut Random, share: f64) -> Duration {
        let thousandths = random.below(1000) as f64;
        self.patience.mul_f64(share * thousandths / 1000.0)
    }

    /// Takes note of a client that cannot connect, if it may be so.
    fn unconnected(&self, error: &io::Error) {
        let may_be = matches!(
            error.kind(),
            io::ErrorKind::TimedOut
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionRefused // at the end
        );
        assert!(
            may_be || error.raw_os_error() == Some(libc::EMFILE),
            "{error:?}"
        );
        self.unconnected.fetch_add(1, SeqCst);
    }
}

/// A client that does not know yet whether it is connected, until this is dropped: also unheard, if it was cancelled before it began.
pub struct Connecting(Arc<World>);

impl Connecting {
    fn begin(world: &Arc<World>) -> Self {
        world.connecting.fetch_add(1, SeqCst);
        Connecting(world.clone())
    }
}

impl Drop for Connecting {
    fn drop(&mut self) {
        self.0.connecting.fetch_sub(1, SeqCst);
    }
}

/// How many clients there may be at a time.
fn crowd() -> usize {
    let (soft, _) = rlimit::getrlimit(Resource::NOFILE).unwrap();
    CROWD.min(soft.saturating_sub(SPARE) / 2) as usize
}

fn number(variable: &str) -> Option<u64> {
    let value = env::var(variable).ok()?;
    Some(value.parse().expect("a number"))
}
