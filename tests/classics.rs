//! The classic concurrent programs, each for its result: as tasks of one scheduler, as plain threads, and as tasks of two
//! schedulers on two threads, through the very same code.
//!
//! A program is a function of a [`Place`], which says how to start a worker, and runs where its workers do.

mod common;

use common::{ends, scheduler, Drops, Remote};
use multitask::sync::{
    atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    mpmc, mpsc, Arc, Condvar, Event, Mutex, RwLock, Semaphore, WaitGroup,
};
use multitask::{select, spawn, task, timeout, yield_now, Handle, Timeout};
use std::collections::VecDeque;
use std::fmt::Debug;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::thread;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(5);

// ---- where a program runs ----

/// How to start a worker.
#[derive(Clone)]
enum Place {
    /// As a task of the scheduler that runs here.
    Tasks,
    Threads,
    /// As a task of one scheduler and the other in turn.
    Schedulers([Handle; 2], Arc<AtomicUsize>),
}

enum Worker<T> {
    Task(task::JoinHandle<T>),
    Thread(thread::JoinHandle<T>),
}

impl Place {
    fn spawn<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> Worker<T> {
        match self {
            Place::Tasks => Worker::Task(spawn(f)),
            Place::Threads => Worker::Thread(thread::spawn(f)),
            Place::Schedulers(handles, next) => {
                Worker::Task(handles[next.fetch_add(1, SeqCst) % 2].spawn(f))
            }
        }
    }

    /// Starts so many and waits for all; gives their values in order.
    fn all<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
        &self,
        number: usize,
        worker: impl Fn(usize) -> F,
    ) -> Vec<T> {
        let workers: Vec<_> = (0..number).map(|n| self.spawn(worker(n))).collect();
        workers.into_iter().map(Worker::join).collect()
    }
}

impl<T> Worker<T> {
    fn join(self) -> T {
        self.outcome().unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Its value, or what it panicked with.
    fn outcome(self) -> thread::Result<T> {
        match self {
            Worker::Task(task) => task.join().map_err(|error| match error {
                task::JoinError::Panic(panic) => panic,
                task::JoinError::Cancelled => Box::new("cancelled"),
            }),
            Worker::Thread(thread) => thread.join(),
        }
    }

    /// Asks it to end, which a thread does when it likes.
    fn cancel(&self) {
        if let Worker::Task(task) = self {
            task.cancel();
        }
    }
}

/// Runs a program in each place; it has to give the same everywhere, and to leave nothing.
#[track_caller]
fn everywhere<T: Debug + PartialEq + Send + 'static>(expected: T, program: fn(&Place) -> T) {
    let (tasks, threads, schedulers) = ends(move || {
        let scheduler = scheduler();
        let tasks = scheduler.block_on(|| program(&Place::Tasks));
        scheduler.run().unwrap();
        let threads = program(&Place::Threads);
        let remotes = [Remote::start(), Remote::start()];
        let handles = remotes.each_ref().map(|remote| remote.handle.clone());
        let place = Place::Schedulers(handles, Arc::default());
        let main = remotes[0].handle.spawn(move || program(&place));
        let schedulers = Worker::Task(main).join();
        remotes.into_iter().for_each(Remote::stop);
        (tasks, threads, schedulers)
    });
    assert_eq!(tasks, expected, "tasks");
    assert_eq!(threads, expected, "threads");
    assert_eq!(schedulers, expected, "two schedulers");
}

/// How many there are, and how many there were at most.
#[derive(Default)]
struct Gauge {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Gauge {
    fn during<T>(&self, f: impl FnOnce() -> T) -> T {
        self.most
            .fetch_max(self.now.fetch_add(1, SeqCst) + 1, SeqCst);
        let value = f();
        self.now.fetch_sub(1, SeqCst);
        value
    }

    fn most(&self) -> usize {
        self.most.load(SeqCst)
    }
}

// ---- dining philosophers ----

const SEATS: usize = 5;
const MEALS: usize = 50;

/// Each takes the fork with the lower number first (Dijkstra's order). Gives the meals of each, and how often a fork was
/// seen in two hands.
fn philosophers(place: &Place) -> (Vec<usize>, usize) {
    let forks: Arc<[Mutex<usize>; SEATS]> = Arc::default();
    let in_hand: Arc<[AtomicBool; SEATS]> = Arc::default();
    let clashes = Arc::new(AtomicUsize::new(0));
    let meals = place.all(SEATS, |seat| {
        let (forks, in_hand, clashes) = (forks.clone(), in_hand.clone(), clashes.clone());
        move || {
            let (left, right) = (seat, (seat + 1) % SEATS);
            for _ in 0..MEALS {
                let mut first = forks[left.min(right)].lock().unwrap();
                yield_now();
                let mut second = forks[left.max(right)].lock().unwrap();
                for fork in [left, right] {
                    clashes.fetch_add(usize::from(in_hand[fork].swap(true, SeqCst)), SeqCst);
                }
                yield_now();
                for fork in [left, right] {
                    in_hand[fork].store(false, SeqCst);
                }
                *first += 1;
                *second += 1;
            }
            MEALS
        }
    });
    for fork in &*forks {
        assert_eq!(*fork.lock().unwrap(), 2 * MEALS);
    }
    (meals, clashes.load(SeqCst))
}

#[test]
fn philosophers_who_take_their_forks_in_order_all_eat() {
    everywhere((vec![MEALS; SEATS], 0), philosophers);
}

// ---- the prime sieve ----

const PRIMES: usize = 200;

/// A chain of channels with a filter for each prime between them; it ends from its end.
fn sieve(place: &Place, capacity: usize) -> Vec<u32> {
    let (sender, mut numbers) = mpsc::sync_channel(capacity);
    let mut workers =
        vec![place.spawn(move || while_heard(2.., |number| sender.send(number).is_ok()))];
    let mut primes = Vec::new();
    while primes.len() < PRIMES {
        let prime: u32 = numbers.recv().unwrap();
        let (sender, filtered) = mpsc::sync_channel(capacity);
        workers.push(place.spawn(move || {
            let rest = numbers.iter().filter(|number| number % prime != 0);
            while_heard(rest, |number| sender.send(number).is_ok());
        }));
        numbers = filtered;
        primes.push(prime);
    }
    drop(numbers);
    workers.into_iter().for_each(Worker::join);
    primes
}

fn while_heard(numbers: impl IntoIterator<Item = u32>, say: impl Fn(u32) -> bool) {
    let _heard = numbers.into_iter().all(say);
}

fn first_primes() -> Vec<u32> {
    let is_prime = |n: &u32| {
        (2..*n)
            .take_while(|d| d * d <= *n)
            .all(|d| !n.is_multiple_of(d))
    };
    (2..).filter(is_prime).take(PRIMES).collect()
}

#[test]
fn a_chain_of_channels_sieves_primes() {
    let primes = first_primes();
    assert_eq!(primes.last(), Some(&1223));
    everywhere(primes, |place| sieve(place, 0));
}

#[test]
fn a_chain_of_channels_with_room_sieves_primes() {
    everywhere(first_primes(), |place| sieve(place, 10));
}

// ---- chameneos ----

#[derive(Clone, Copy, PartialEq)]
enum Colour {
    Blue,
    Red,
    Yellow,
}

impl Colour {
    /// What one becomes who meets one of that colour.
    fn after(self, other: Colour) -> Colour {
        use Colour::{Blue, Red, Yellow};
        match (self, other) {
            (a, b) if a == b => a,
            (Blue, Red) | (Red, Blue) => Yellow,
            (Blue, Yellow) | (Yellow, Blue) => Red,
            _ => Blue,
        }
    }
}

/// Where creatures meet, two at a time, so many times.
struct MeetingPlace {
    state: Mutex<Meeting>,
    changed: Condvar,
}

struct Meeting {
    left: usize,
    /// Who waits for a second one.
    first: Option<(usize, Colour)>,
    /// Who has come for the first one, which has not seen it yet.
    second: Option<(usize, Colour)>,
}

impl MeetingPlace {
    /// Waits for another; tells who it is. `None` when all meetings are over.
    fn meet(&self, me: (usize, Colour)) -> Option<(usize, Colour)> {
        let state = self.state.lock().unwrap();
        // The two of the last meeting leave first.
        let left = |state: &mut Meeting| state.second.is_some();
        let mut state = self.changed.wait_while(state, left).unwrap();
        if state.left == 0 {
            return None;
        }
        if let Some(first) = state.first.take() {
            state.left -= 1;
            state.second = Some(me);
            self.changed.notify_all();
            return Some(first);
        }
        state.first = Some(me);
        let waits = |state: &mut Meeting| state.second.is_none() && state.left > 0;
        let mut state = self.changed.wait_while(state, waits).unwrap();
        let second = state.second.take();
        self.changed.notify_all();
        second
    }
}

const MEETINGS: usize = 500;

/// Gives the number of those who were in a meeting, of those who met themselves, and of pairs that saw each other differently.
fn chameneos(place: &Place) -> (usize, usize, usize) {
    use Colour::{Blue, Red, Yellow};
    const COLOURS: [Colour; 7] = [Blue, Red, Yellow, Red, Yellow, Blue, Red];
    let meetings = Arc::new(MeetingPlace {
        state: Mutex::new(Meeting {
            left: MEETINGS,
            first: None,
            second: None,
        }),
        changed: Condvar::new(),
    });
    let met = place.all(COLOURS.len(), |me| {
        let meetings = meetings.clone();
        move || {
            let (mut colour, mut met) = (COLOURS[me], [0; COLOURS.len()]);
            while let Some((other, its)) = meetings.meet((me, colour)) {
                assert!(colour.after(its) == its.after(colour));
                colour = colour.after(its);
                met[other] += 1;
            }
            met
        }
    });
    let pairs = (0..met.len()).flat_map(|a| (0..a).map(move |b| (a, b)));
    (
        met.iter().flatten().sum(),
        (0..met.len()).map(|me| met[me][me]).sum(),
        pairs.filter(|&(a, b)| met[a][b] != met[b][a]).count(),
    )
}

#[test]
fn chameneos_meet_as_often_as_they_may_and_nobody_meets_itself() {
    everywhere((2 * MEETINGS, 0, 0), chameneos);
}

// ---- readers and writers ----

const WRITERS: usize = 3;
const WRITES: usize = 30;

/// Readers read until they have seen all that is written, so that there is always one: a writer has to get in nevertheless.
/// Gives how often a half-written state was seen, the last one, and how many readers have seen it.
fn readers_and_writers(place: &Place) -> (usize, [usize; 4], usize) {
    const READERS: usize = 4;
    let text = Arc::new(RwLock::new([0; 4]));
    let torn = Arc::new(AtomicUsize::new(0));
    let seen = place.all(READERS + WRITERS, |n| {
        let (text, torn) = (text.clone(), torn.clone());
        move || {
            if n < WRITERS {
                for _ in 0..WRITES {
                    for word in text.write().unwrap().iter_mut() {
                        *word += 1;
                        yield_now();
                    }
                }
                return false;
            }
            loop {
                let text = text.read().unwrap();
                let first = text[0];
                yield_now();
                torn.fetch_add(text.iter().filter(|word| **word != first).count(), SeqCst);
                if first == WRITERS * WRITES {
                    return true;
                }
            }
        }
    });
    let last = *text.read().unwrap();
    let seen = seen.into_iter().filter(|seen| *seen).count();
    (torn.load(SeqCst), last, seen)
}

#[test]
fn readers_see_nothing_half_written_and_writers_get_in_among_them() {
    everywhere((0, [WRITERS * WRITES; 4], 4), readers_and_writers);
}

// ---- a bounded parallel map ----

/// Those that were not waited for are asked to end.
struct Workers<T>(VecDeque<Worker<T>>);

impl<T> Workers<T> {
    fn results(mut self) -> Vec<thread::Result<T>> {
        let mut results = Vec::new();
        while let Some(worker) = self.0.pop_front() {
            results.push(worker.outcome());
        }
        results
    }
}

impl<T> Drop for Workers<T> {
    fn drop(&mut self) {
        self.0.iter().for_each(Worker::cancel);
    }
}

/// After a panic there is nothing more to begin.
struct Closes(Arc<Semaphore>);

impl Drop for Closes {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.close();
        }
    }
}

/// Calls `f` with each item, for at most `n` at a time; gives the values in the order of the items. The first panic, in that
/// order, comes out when all have ended.
fn parallel_map<I: Send + 'static, T: Send + 'static>(
    place: &Place,
    n: usize,
    items: Vec<I>,
    f: impl Fn(I) -> T + Send + Sync + 'static,
) -> Vec<T> {
    let (room, f) = (Arc::new(Semaphore::new(n)), Arc::new(f));
    let mut workers = Workers(VecDeque::new());
    for item in items {
        let Ok(permit) = room.clone().acquire_owned() else {
            break;
        };
        let (f, closes) = (f.clone(), Closes(room.clone()));
        workers.0.push_back(place.spawn(move || {
            // What was done is closed before the permit goes to the next one.
            let _in_this_order = (closes, permit);
            f(item)
        }));
    }
    workers
        .results()
        .into_iter()
        .map(|result| result.unwrap_or_else(|panic| resume_unwind(panic)))
        .collect()
}

#[test]
fn a_parallel_map_keeps_the_order_and_its_bound() {
    let squares: Vec<usize> = (0..60).map(|n| n * n).collect();
    everywhere((squares, true), |place| {
        let gauge = Arc::new(Gauge::default());
        let inside = gauge.clone();
        let squares = parallel_map(place, 4, (0..60).collect(), move |n| {
            inside.during(|| (0..(60 - n) % 7).for_each(|_| yield_now()));
            n * n
        });
        (squares, (1..=4).contains(&gauge.most()))
    });
}

/// Maps 20 items, of which the eighth panics. Gives its payload, how many began, and how many are gone.
fn map_that_panics(place: &Place, n: usize) -> (usize, usize, usize) {
    let (drops, begun) = (Drops::default(), Arc::new(AtomicUsize::new(0)));
    let items = (1..=20_usize).map(|n| (n, drops.one())).collect();
    let count = begun.clone();
    let panic = catch_unwind(AssertUnwindSafe(|| {
        parallel_map(place, n, items, move |(number, _one)| {
            count.fetch_add(1, SeqCst);
            yield_now();
            if number == 8 {
                resume_unwind(Box::new(number));
            }
        })
    }));
    let payload = *panic.unwrap_err().downcast::<usize>().unwrap();
    (payload, begun.load(SeqCst), drops.count())
}

#[test]
fn a_panic_in_a_parallel_map_comes_out_when_all_that_began_have_ended() {
    // One at a time: nothing begins after it.
    everywhere((8, 8, 20), |place| map_that_panics(place, 1));
    everywhere((8, true, 20), |place| {
        let (payload, begun, gone) = map_that_panics(place, 3);
        (payload, (8..=20).contains(&begun), gone)
    });
}

#[test]
fn a_parallel_map_that_is_given_up_begins_nothing_more_and_leaves_nothing() {
    everywhere((Err(Timeout), true, 20), |place| {
        const N: usize = 3;
        let (drops, begun) = (Drops::default(), Arc::new(AtomicUsize::new(0)));
        let (go_on, group) = (Arc::new(Event::new()), WaitGroup::new());
        let one = || (drops.one(), group.clone());
        let items: Vec<_> = (0..20).map(|_| one()).collect();
        let (count, event) = (begun.clone(), go_on.clone());
        let map = timeout(SHORT, || {
            parallel_map(place, N, items, move |_item| {
                count.fetch_add(1, SeqCst);
                event.wait();
            })
        });
        // Threads are still at it.
        go_on.set();
        group.wait();
        (map.map(drop), begun.load(SeqCst) <= N, drops.count())
    });
}

// ---- the sleeping barber ----

const CHAIRS: usize = 3;
const CUSTOMERS: usize = 20;

/// Dijkstra's: a customer who finds no free chair goes away, and comes back later.
struct Shop {
    waiting: Mutex<usize>,
    customers: Semaphore,
    barber: Semaphore,
    done: Semaphore,
}

impl Shop {
    /// Whether there was a chair.
    fn visit(&self) -> bool {
        let mut waiting = self.waiting.lock().unwrap();
        if *waiting == CHAIRS {
            return false;
        }
        *waiting += 1;
        self.customers.add_permits(1);
        drop(waiting);
        self.barber.acquire().unwrap().forget();
        self.done.acquire().unwrap().forget();
        true
    }

    /// Sleeps until a customer comes; tells how many were waiting then. `None` when no more come.
    fn cut(&self, chair: &Gauge) -> Option<usize> {
        self.customers.acquire().ok()?.forget();
        let mut waiting = self.waiting.lock().unwrap();
        let were = *waiting;
        *waiting -= 1;
        drop(waiting);
        self.barber.add_permits(1);
        chair.during(yield_now);
        self.done.add_permits(1);
        Some(were)
    }
}

/// Gives the customers served, the hair cut, and whether there were never more than there is room for.
fn sleeping_barber(place: &Place) -> (usize, usize, bool) {
    let shop = Arc::new(Shop {
        waiting: Mutex::new(0),
        customers: Semaphore::new(0),
        barber: Semaphore::new(0),
        done: Semaphore::new(0),
    });
    let barber = place.spawn({
        let shop = shop.clone();
        move || {
            let chair = Gauge::default();
            let waiting: Vec<_> = std::iter::from_fn(|| shop.cut(&chair)).collect();
            (waiting, chair.most())
        }
    });
    let served = place.all(CUSTOMERS, |_| {
        let shop = shop.clone();
        move || {
            while !shop.visit() {
                yield_now();
            }
            1
        }
    });
    shop.customers.close();
    let (waiting, most) = barber.join();
    let left = [&shop.customers, &shop.barber, &shop.done].map(Semaphore::available_permits);
    assert_eq!(left, [0; 3]);
    let fits = most == 1 && waiting.iter().all(|were| (1..=CHAIRS).contains(were));
    (served.into_iter().sum(), waiting.len(), fits)
}

#[test]
fn the_barber_serves_each_customer_once_and_sleeps_when_none_is_there() {
    everywhere((CUSTOMERS, CUSTOMERS, true), sleeping_barber);
}

// ---- a pipeline that can be stopped ----

/// A source without end, two stages, and a sink that has enough after `enough`. Gives what came out, what was made and is not
/// gone, and how each of the three ended.
fn pipeline(place: &Place, enough: usize) -> (Vec<u64>, usize, Vec<&'static str>) {
    let (drops, made) = (Drops::default(), Arc::new(AtomicUsize::new(0)));
    let (stop, stopped) = mpmc::channel::<()>();
    let (first, numbers) = mpsc::sync_channel(2);
    let source = place.spawn({
        let (drops, made, stopped) = (drops.clone(), made.clone(), stopped.clone());
        move || {
            for number in 0.. {
                select! {
                    // It is made when there is room for it.
                    send(first, { made.fetch_add(1, SeqCst); (number, drops.one()) }) -> sent => {
                        if sent.is_err() {
                            return when_stopped(&stopped);
                        }
                    }
                    recv(stopped) -> _ => return "stopped",
                }
            }
            unreachable!()
        }
    });
    let (second, squares) = mpsc::sync_channel(0);
    let (third, sums) = mpsc::sync_channel(1);
    let stages = [
        place.spawn(stage(numbers, second, stopped.clone(), |number| {
            number * number
        })),
        place.spawn(stage(squares, third, stopped, |square| square + 1)),
    ];
    let out = sums.iter().take(enough).map(|(sum, _one)| sum).collect();
    drop(stop);
    let ends: Vec<_> = [source]
        .into_iter()
        .chain(stages)
        .map(Worker::join)
        .collect();
    drop(sums);
    (out, made.load(SeqCst) - drops.count(), ends)
}

/// Goes on until it is told to stop.
fn stage<X: Send + 'static>(
    input: mpsc::Receiver<(u64, X)>,
    output: mpsc::SyncSender<(u64, X)>,
    stopped: mpmc::Receiver<()>,
    f: fn(u64) -> u64,
) -> impl FnOnce() -> &'static str + Send {
    move || loop {
        let (number, x) = select! {
            recv(input) -> item => match item {
                Ok(item) => item,
                Err(_) => return when_stopped(&stopped),
            },
            recv(stopped) -> _ => return "stopped",
        };
        select! {
            send(output, (f(number), x)) -> sent => {
                if sent.is_err() {
                    return when_stopped(&stopped);
                }
            }
            recv(stopped) -> _ => return "stopped",
        }
    }
}

/// A neighbour has ended: it was stopped, and so is this one.
fn when_stopped(stopped: &mpmc::Receiver<()>) -> &'static str {
    match stopped.try_recv() {
        Err(mpmc::TryRecvError::Disconnected) => "stopped",
        _ => "ended without having been stopped",
    }
}

#[test]
fn a_pipeline_keeps_the_order_and_ends_in_each_of_its_stages_when_it_is_stopped() {
    everywhere(
        ((0..100).map(|n| n * n + 1).collect(), 0, vec!["stopped"; 3]),
        |place| pipeline(place, 100),
    );
}

#[test]
fn a_pipeline_can_be_stopped_before_anything_has_come_out() {
    everywhere((vec![], 0, vec!["stopped"; 3]), |place| pipeline(place, 0));
}
