//! What is locked, and what is done once.

use crate::arena::{Actor, Arena, Inside};
use crate::books::{Books, Item};
use crate::common::OnDrop;
use multitask::sync::atomic::{AtomicIsize, AtomicU64, AtomicUsize, Ordering::SeqCst};
use multitask::sync::{
    Arc, Condvar, LazyLock, LockTimeoutError, Mutex, Once, OnceLock, RwLock, RwLockWriteGuard,
    Semaphore,
};
use multitask::{sleep, timeout, yield_now, Timeout};
use std::time::Duration;

/// One at a time is inside; each time counts; it is free in the end and poisoned by nobody.
pub fn mutex(arena: &Arena) {
    #[derive(Default)]
    struct State {
        times: Mutex<u64>,
        inside: AtomicUsize,
        counted: AtomicU64,
    }
    fn step(state: &State, actor: &mut Actor) {
        actor.at();
        let guard = match actor.random.below(4) {
            0 => state.times.try_lock().ok(),
            1 => in_time(state.times.lock_timeout(actor.short())),
            _ => Some(state.times.lock().unwrap()),
        };
        let Some(mut guard) = guard else { return };
        actor.at();
        let _inside = Inside::of(&state.inside);
        assert_eq!(state.inside.load(SeqCst), 1);
        actor.dawdle();
        *guard += 1;
        state.counted.fetch_add(1, SeqCst);
        actor.dawdle();
        assert_eq!(state.inside.load(SeqCst), 1);
    }
    let state = Arc::new(State::default());
    arena.round(&state, step, |_| ());
    assert_eq!(*state.times.try_lock().unwrap(), state.counted.load(SeqCst));
}

/// Readers are inside together, a writer alone; each writer counts; it is free in the end.
pub fn rwlock(arena: &Arena) {
    #[derive(Default)]
    struct State {
        times: RwLock<u64>,
        /// How many readers are inside; -1 is a writer.
        inside: AtomicIsize,
        counted: AtomicU64,
    }
    fn enter(state: &State, by: isize) -> OnDrop<impl FnMut() + '_> {
        let before = state.inside.fetch_add(by, SeqCst);
        assert!(if by < 0 { before == 0 } else { before >= 0 });
        OnDrop(move || _ = state.inside.fetch_sub(by, SeqCst))
    }
    fn read(state: &State, actor: &mut Actor) {
        let guard = match actor.random.below(4) {
            0 => state.times.try_read().ok(),
            1 => in_time(state.times.read_timeout(actor.short())),
            _ => Some(state.times.read().unwrap()),
        };
        let Some(guard) = guard else { return };
        actor.at();
        let _inside = enter(state, 1);
        let before = *guard;
        actor.dawdle();
        assert_eq!(*guard, before);
    }
    fn write(state: &State, actor: &mut Actor) {
        let guard = match actor.random.below(4) {
            0 => state.times.try_write().ok(),
            1 => in_time(state.times.write_timeout(actor.short())),
            _ => Some(state.times.write().unwrap()),
        };
        let Some(mut guard) = guard else { return };
        actor.at();
        let inside = enter(state, -1);
        actor.dawdle();
        *guard += 1;
        let counted = state.counted.fetch_add(1, SeqCst) + 1;
        if actor.chance(4) {
            drop(inside);
            let guard = RwLockWriteGuard::downgrade(guard);
            let _inside = enter(state, 1);
            actor.dawdle();
            assert_eq!(*guard, counted);
        } else {
            actor.dawdle();
        }
    }
    fn step(state: &State, actor: &mut Actor) {
        actor.at();
        if actor.chance(3) {
            write(state, actor);
        } else {
            read(state, actor);
        }
    }
    let state = Arc::new(State::default());
    arena.round(&state, step, |_| ());
    assert_eq!(
        *state.times.try_write().unwrap(),
        state.counted.load(SeqCst)
    );
}

/// What was announced to one is taken by one: nobody sleeps while something is there for him.
pub fn condvar(arena: &Arena) {
    #[derive(Default)]
    struct State {
        /// How much is there, and how many wait for it. Who is late, or unwinds out of his wait, takes himself off.
        there: Mutex<u64>,
        waiting: AtomicUsize,
        changed: Condvar,
        put: AtomicU64,
        got: AtomicU64,
    }
    fn put(state: &State) {
        let mut there = state.there.lock().unwrap();
        *there += 1;
        state.put.fetch_add(1, SeqCst);
        drop(there);
        state.changed.notify_one();
    }
    fn get(state: &State, actor: &mut Actor) {
        let mut there = state.there.lock().unwrap();
        let waiting = Inside::of(&state.waiting);
        let bounded = actor.chance(3);
        while *there == 0 {
            actor.at();
            if bounded {
                let limit = actor.short();
                let (guard, result) = state.changed.wait_timeout(there, limit).unwrap();
                there = guard;
                if result.timed_out() {
                    break;
                }
            } else {
                there = state.changed.wait(there).unwrap();
            }
        }
        drop(waiting);
        if *there > 0 {
            *there -= 1;
            state.got.fetch_add(1, SeqCst);
        }
    }
    fn step(state: &State, actor: &mut Actor) {
        actor.at();
        match actor.random.below(20) {
            0 => state.changed.notify_all(),
            1..11 => put(state),
            _ => get(state, actor),
        }
    }
    let state = Arc::new(State::default());
    arena.round(&state, step, |state| {
        // They wait rightly only if nothing is there.
        let nothing = *state.there.lock().unwrap() == 0;
        if nothing && state.waiting.load(SeqCst) > 0 {
            put(state);
        }
    });
    let there = *state.there.try_lock().unwrap();
    assert_eq!(state.put.load(SeqCst), state.got.load(SeqCst) + there);
}

/// There are never more permits out than there are, and all are back in the end.
pub fn semaphore(arena: &Arena) {
    struct State {
        permits: usize,
        semaphore: Arc<Semaphore>,
        out: AtomicUsize,
    }
    fn step(state: &State, actor: &mut Actor) {
        actor.at();
        let many = 1 + actor.random.below(state.permits);
        let semaphore = &state.semaphore;
        let limit = actor.short();
        if actor.chance(4) {
            let permit = semaphore.clone().acquire_many_owned(many);
            if permit.is_ok() {
                hold(state, actor, many);
            }
            return;
        }
        let permit = match actor.random.below(4) {
            0 => semaphore.try_acquire_many(many).ok(),
            1 => semaphore.acquire_many_timeout(many, limit).ok(),
            _ => semaphore.acquire_many(many).ok(),
        };
        let Some(permit) = permit else { return };
        hold(state, actor, many);
        if actor.chance(8) {
            permit.forget();
            semaphore.add_permits(many);
        }
    }
    fn hold(state: &State, actor: &mut Actor, many: usize) {
        actor.at();
        let out = state.out.fetch_add(many, SeqCst) + many;
        let _back = OnDrop(|| _ = state.out.fetch_sub(many, SeqCst));
        assert!(out <= state.permits, "{out} of {}", state.permits);
        actor.dawdle();
    }
    let permits = 1 + arena.random().below(6);
    let state = Arc::new(State {
        permits,
        semaphore: Arc::new(Semaphore::new(permits)),
        out: AtomicUsize::new(0),
    });
    arena.round(&state, step, |_| ());
    assert_eq!(state.semaphore.available_permits(), permits);
}

/// What is to be done once is begun by one at a time, and done once, however often it was given up.
pub fn once(arena: &Arena) {
    const MANY: usize = 1 << 14;
    struct State {
        cells: Vec<(Once, AtomicUsize, AtomicUsize)>,
        next: AtomicUsize,
    }
    fn call(cell: &(Once, AtomicUsize, AtomicUsize), actor: &mut Actor) {
        let (once, inside, done) = cell;
        once.call_once(|| {
            actor.at();
            let _inside = Inside::of(inside);
            assert_eq!(inside.load(SeqCst), 1);
            actor.dawdle();
            assert_eq!(done.fetch_add(1, SeqCst), 0);
        });
        assert!(once.is_completed());
        assert_eq!(done.load(SeqCst), 1);
    }
    fn step(state: &State, actor: &mut Actor) {
        actor.at();
        let next = match actor.random.below(4) {
            0 => state.next.fetch_add(1, SeqCst),
            _ => state.next.load(SeqCst),
        };
        let cell = &state.cells[(next + actor.random.below(3)) % MANY];
        if actor.chance(4) {
            // Perhaps nobody does it.
            let limit = actor.short();
            let waited = timeout(limit, || cell.0.wait());
            assert!(waited == Err(Timeout) || cell.2.load(SeqCst) == 1);
        } else {
            call(cell, actor);
        }
    }
    let cells = (0..MANY).map(|_| (Once::new(), AtomicUsize::new(0), AtomicUsize::new(0)));
    let state = Arc::new(State {
        cells: cells.collect(),
        next: AtomicUsize::new(0),
    });
    arena.round(&state, step, |state| {
        // Who waits where nobody does it.
        for (once, _, done) in &state.cells {
            once.call_once(|| _ = done.fetch_add(1, SeqCst));
        }
    });
    for (once, inside, done) in &state.cells {
        once.call_once(|| _ = done.fetch_add(1, SeqCst));
        assert_eq!((inside.load(SeqCst), done.load(SeqCst)), (0, 1));
    }
}

/// There is one value, that of the one initializer that was not given up.
pub fn once_lock(arena: &Arena) {
    const MANY: usize = 1 << 13;
    struct State {
        cells: Vec<(OnceLock<Item>, AtomicUsize, AtomicUsize)>,
        next: AtomicUsize,
        books: Arc<Books>,
    }
    fn step(state: &State, actor: &mut Actor) {
        actor.at();
        let next = match actor.random.below(4) {
            0 => state.next.fetch_add(1, SeqCst),
            _ => state.next.load(SeqCst),
        };
        let (cell, inside, done) = &state.cells[(next + actor.random.below(3)) % MANY];
        let there = cell.get().map(|item| item.number);
        let number = match actor.random.below(8) {
            // Perhaps nobody does it.
            0 => timeout(actor.short(), || cell.wait().number).ok(),
            1 | 2 => {
                let item = state.books.item();
                let number = item.number;
                match cell.set(item) {
                    Ok(()) => {
                        assert_eq!(done.fetch_add(1, SeqCst), 0);
                        Some(number)
                    }
                    Err(item) => {
                        item.back();
                        Some(cell.get().unwrap().number)
                    }
                }
            }
            _ => {
                let item = cell.get_or_init(|| {
                    actor.at();
                    let _inside = Inside::of(inside);
                    assert_eq!(inside.load(SeqCst), 1);
                    let item = state.books.item();
                    actor.dawdle();
                    assert_eq!(done.fetch_add(1, SeqCst), 0);
                    item
                });
                Some(item.number)
            }
        };
        assert!(there.is_none() || number == there);
    }
    let cells = (0..MANY).map(|_| (OnceLock::new(), AtomicUsize::new(0), AtomicUsize::new(0)));
    let state = Arc::new(State {
        cells: cells.collect(),
        next: AtomicUsize::new(0),
        books: Arc::default(),
    });
    arena.round(&state, step, |state| {
        // Who waits where nobody does it.
        for (cell, _, done) in state.cells.iter().filter(|cell| cell.0.get().is_none()) {
            match cell.set(state.books.item()) {
                Ok(()) => _ = done.fetch_add(1, SeqCst),
                Err(item) => item.back(),
            }
        }
    });
    for (cell, inside, done) in &state.cells {
        assert_eq!(inside.load(SeqCst), 0);
        assert_eq!(done.load(SeqCst), usize::from(cell.get().is_some()));
    }
    let mut state = Arc::into_inner(state).expect("all have ended");
    for (cell, ..) in &mut state.cells {
        cell.take().map(Item::got).into_iter().for_each(drop);
    }
    assert!(state.books.balance(), "{:?}", state.books);
}

/// The initializer runs once, to its end, whoever is cut short in it.
pub fn lazy_lock(arena: &Arena) {
    const MANY: usize = 1 << 12;
    type Lazy = LazyLock<u64, Box<dyn FnOnce() -> u64 + Send>>;
    struct State {
        cells: Vec<Lazy>,
        next: AtomicUsize,
        begun: Arc<AtomicUsize>,
        done: Arc<AtomicUsize>,
    }
    fn step(state: &State, actor: &mut Actor) {
        actor.at();
        let next = match actor.random.below(4) {
            0 => state.next.fetch_add(1, SeqCst),
            _ => state.next.load(SeqCst),
        };
        let next = (next + actor.random.below(3)) % MANY;
        let there = LazyLock::get(&state.cells[next]);
        let value = match actor.random.below(4) {
            0 => timeout(actor.short(), || *state.cells[next]).ok(),
            _ => Some(*state.cells[next]),
        };
        assert!(value.is_none() || value == Some(next as u64));
        assert!(there.is_none() || there == Some(&(next as u64)));
    }
    let (begun, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut random = arena.random();
    let cell = |n: u64| -> Lazy {
        let (begun, done) = (begun.clone(), done.clone());
        let pause = [0, 50, 200][random.below(3)];
        LazyLock::new(Box::new(move || {
            begun.fetch_add(1, SeqCst);
            match pause {
                0 => yield_now(),
                pause => sleep(Duration::from_micros(pause)),
            }
            done.fetch_add(1, SeqCst);
            n
        }))
    };
    let state = Arc::new(State {
        cells: (0..MANY as u64).map(cell).collect(),
        next: AtomicUsize::new(0),
        begun,
        done,
    });
    arena.round(&state, step, |_| ());
    let there = state.cells.iter().filter_map(LazyLock::get).count();
    assert_eq!(state.done.load(SeqCst), there);
    assert_eq!(state.begun.load(SeqCst), there);
}

/// What was locked, if it was locked in time.
fn in_time<G>(locked: Result<G, LockTimeoutError<G>>) -> Option<G> {
    match locked {
        Ok(guard) => Some(guard),
        Err(LockTimeoutError::Poisoned(_)) => panic!("poisoned, though nobody panicked"),
        Err(LockTimeoutError::Timeout | LockTimeoutError::Cancelled) => None,
    }
}
