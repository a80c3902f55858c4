//! Tasks and those who wait for them: each ends once, and what it gives is given once.

use crate::arena::{Actor, Arena, Inside};
use crate::books::{Books, Item};
use crate::common::OnDrop;
use multitask::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use multitask::sync::{Arc, Mutex};
use multitask::task::{self, JoinSet, JoinTimeoutError, ScopedJoinHandle};
use multitask::{sleep, spawn, yield_now, Handle, JoinError, JoinHandle};
use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::thread;
use std::time::Duration;

/// What some panic with.
struct Deliberate;

/// What one of a family does.
#[derive(Clone, Copy)]
enum Life {
    Short(Duration),
    Shielded(Duration),
    /// With something that those of other schedulers use, too.
    Locking,
    /// Until it is cancelled.
    Endless,
    /// Its `Err`, or a panic.
    Failing,
    Panicking,
}

impl Life {
    fn any(actor: &mut Actor) -> Life {
        let pause = actor.short();
        match actor.random.below(12) {
            0 => Life::Shielded(pause),
            1..4 => Life::Locking,
            4 => Life::Endless,
            5 => Life::Failing,
            6 => Life::Panicking,
            n if n < 9 => Life::Short(Duration::ZERO),
            _ => Life::Short(pause),
        }
    }
}

/// Tasks that belong together.
struct Family {
    lock: Arc<Mutex<u64>>,
    live: AtomicUsize,
    failed: AtomicBool,
    panicked: AtomicBool,
}

impl Family {
    fn new(lock: &Arc<Mutex<u64>>) -> Family {
        Family {
            lock: lock.clone(),
            live: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
        }
    }

    fn live(&self, life: Life, item: Item) -> Result<Item, Deliberate> {
        let _inside = Inside::of(&self.live);
        match life {
            Life::Short(pause) => sleep(pause),
            Life::Shielded(pause) => task::shield(|| sleep(pause)),
            Life::Locking => {
                let mut count = self.lock.lock().unwrap();
                yield_now();
                *count += 1;
            }
            Life::Endless => loop {
                task::park();
            },
            Life::Failing => {
                yield_now();
                self.failed.store(true, SeqCst);
                return Err(Deliberate);
            }
            Life::Panicking => {
                yield_now();
                self.panicked.store(true, SeqCst);
                resume_unwind(Box::new(Deliberate));
            }
        }
        Ok(item)
    }
}

/// `None` if one of them has panicked on purpose.
fn unless_deliberate<T>(f: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(value) => Some(value),
        Err(panic) if panic.is::<Deliberate>() => None,
        Err(panic) => resume_unwind(panic),
    }
}

/// Joins or leaves it; whether it panicked and the scope is not told of that.
fn join_member(task: ScopedJoinHandle<'_, Item>, actor: &mut Actor) -> bool {
    actor.at();
    let result = match actor.random.below(4) {
        0 => return false,
        1 => match task.join_timeout(actor.short()) {
            Ok(item) => Ok(item),
            Err(JoinTimeoutError::Failed(error)) => Err(error),
            Err(_) => return false,
        },
        _ => task.join(),
    };
    match result {
        Ok(item) => item.got(),
        Err(error) if error.is_cancelled() => {}
        Err(error) => {
            assert!(error.into_panic().is::<Deliberate>());
            return true;
        }
    }
    false
}

/// What a trial of scopes has.
#[derive(Default)]
struct State {
    lock: Arc<Mutex<u64>>,
    /// Scopes that were over before their tasks were.
    late: AtomicUsize,
}

impl State {
    /// To be dropped when a scope is over, however it ends.
    fn over<'a>(&'a self, family: &'a Family, books: &'a Arc<Books>) -> OnDrop<impl FnMut() + 'a> {
        OnDrop(|| {
            if family.live.load(SeqCst) != 0 || !books.balance() {
                self.late.fetch_add(1, SeqCst);
            }
        })
    }
}

fn scopes(arena: &Arena, step: fn(&State, &mut Actor)) {
    let state = Arc::new(State::default());
    arena.round(&state, step, |_| ());
    assert_eq!(state.late.load(SeqCst), 0);
    drop(state.lock.try_lock().unwrap());
}

/// When a scope is over, so are its tasks, those of its tasks, and what they returned; it panics as one that nobody joined.
pub fn scope(arena: &Arena) {
    fn step(state: &State, actor: &mut Actor) {
        actor.at();
        let (family, books) = (&Family::new(&state.lock), &Arc::default());
        let _over = state.over(family, books);
        let told = AtomicBool::new(false);
        let done = unless_deliberate(|| {
            task::scope(|s| {
                let mut tasks = Vec::new();
                let mut is_cancelled = actor.chance(8);
                for _ in 0..actor.random.below(5) {
                    let (life, item) = (Life::any(actor), books.item());
                    let child = actor.chance(4).then(|| (Life::any(actor), books.item()));
                    let lives = [Some(life), child.as_ref().map(|child| child.0)];
                    let endless = |life: &Option<Life>| matches!(life, Some(Life::Endless));
                    is_cancelled |= lives.iter().any(endless);
                    let task = s.spawn(move || {
                        if let Some((life, item)) = child {
                            s.spawn(move || family.live(life, item).ok());
                        }
                        let item = family.live(life, item);
                        item.unwrap_or_else(|_| books.item())
                    });
                    if actor.chance(5) {
                        task.cancel();
                    }
                    if actor.chance(4) {
                        drop(task);
                    } else {
                        tasks.push(task);
                    }
                    actor.dawdle();
                }
                if is_cancelled {
                    s.cancel();
                }
                for task in tasks {
                    told.fetch_or(join_member(task, actor), SeqCst);
                }
            });
        });
        let panicked = family.panicked.load(SeqCst);
        assert!(done.is_none() <= panicked);
        assert!(done.is_none() || !panicked || told.load(SeqCst));
    }
    scopes(arena, step);
}

/// The first failure ends them all, and is told.
pub fn try_scope(arena: &Arena) {
    fn step(state: &State, actor: &mut Actor) {
        actor.at();
        let (family, books) = (&Family::new(&state.lock), &Arc::default());
        let _over = state.over(family, books);
        let done = unless_deliberate(|| {
            task::try_scope(|s| {
                let mut tasks = Vec::new();
                let mut is_ended = actor.chance(8);
                for _ in 0..actor.random.below(5) {
                    let (life, item) = (Life::any(actor), books.item());
                    is_ended |= matches!(life, Life::Endless);
                    let task = s.spawn(move || family.live(life, item));
                    if actor.chance(5) {
                        task.cancel();
                    }
                    tasks.push(task);
                    actor.dawdle();
                }
                if is_ended {
                    family.failed.store(true, SeqCst);
                    return Err(Deliberate);
                }
                for task in tasks {
                    join_member(task, actor);
                }
                Ok(())
            })
        });
        let failed = family.failed.load(SeqCst);
        assert_eq!(done.is_none(), family.panicked.load(SeqCst));
        assert!(done.is_none_or(|done| done.is_err() == failed));
    }
    scopes(arena, step);
}

/// Each task of a set is joined once, and no more of them run than may.
pub fn join_set(arena: &Arena) {
    #[derive(Default)]
    struct State {
        lock: Arc<Mutex<u64>>,
        books: Arc<Books>,
    }
    fn step(state: &State, actor: &mut Actor) {
        let family = Arc::new(Family::new(&state.lock));
        let most = [usize::MAX, 1, 2][actor.random.below(3)];
        let mut set = match most {
            usize::MAX => JoinSet::new(),
            most => JoinSet::with_limit(NonZeroUsize::new(most).unwrap()),
        };
        let mut ids = HashSet::new();
        let mut is_cancelled = actor.chance(6);
        for _ in 0..actor.random.below(6) {
            actor.at();
            let mut life = Life::any(actor);
            match life {
                // Nobody would hear of it.
                Life::Panicking => life = Life::Failing,
                Life::Endless if most < usize::MAX => life = Life::Locking,
                Life::Endless => is_cancelled = true,
                _ => {}
            }
            let (family, item) = (family.clone(), state.books.item());
            let id = set.spawn(move || {
                assert!(family.live.load(SeqCst) < most);
                family.live(life, item)
            });
            assert!(ids.insert(id));
            actor.dawdle();
        }
        if is_cancelled {
            set.cancel_all();
        }
        loop {
            actor.at();
            let joined = match actor.random.below(12) {
                0 => return,
                1 => {
                    set.shutdown();
                    assert!(set.is_empty());
                    return assert_eq!(family.live.load(SeqCst), 0);
                }
                2 => return set.detach_all(),
                3 => set.join_next_timeout(actor.short()).unwrap_or_default(),
                4 => set.try_join_next(),
                _ => match set.join_next_with_id() {
                    None => break,
                    Some((id, result)) => {
                        assert!(ids.contains(&id));
                        Some(result)
                    }
                },
            };
            match joined {
                None => {}
                Some(Ok(result)) => result.map_or((), Item::got),
                Some(Err(error)) => assert!(error.is_cancelled() && is_cancelled),
            }
            actor.dawdle();
        }
        assert_eq!(family.live.load(SeqCst), 0);
    }
    let state = Arc::new(State::default());
    arena.round(&state, step, |_| ());
    balanced(&state.books);
}

/// Some tasks that nobody joined may not have ended yet.
fn balanced(books: &Arc<Books>) {
    while !books.balance() {
        thread::sleep(Duration::from_micros(50));
    }
}

/// A task of whatever scheduler is joined by whomever: he has its value, or it was cancelled, and it is over.
pub fn join(arena: &Arena) {
    struct State {
        homes: Vec<Handle>,
        /// Tasks that others are to join.
        hired: std::sync::Mutex<Vec<Hired>>,
        lock: Arc<Mutex<u64>>,
        books: Arc<Books>,
    }
    struct Hired {
        task: JoinHandle<Item>,
        number: u64,
        may_be_cancelled: Arc<AtomicBool>,
        is_over: Arc<AtomicBool>,
    }
    impl Hired {
        /// Or leaves it; gives it back if it is late.
        fn join(self, actor: &mut Actor) -> Option<Hired> {
            let result = match actor.random.below(8) {
                0 => return None,
                1 | 2 => {
                    self.may_be_cancelled.store(true, SeqCst);
                    self.task.cancel();
                    return Some(self);
                }
                3 => {
                    assert!(!self.task.is_finished() || self.is_over.load(SeqCst));
                    return Some(self);
                }
                4 | 5 => match self.task.join_timeout(actor.short()) {
                    Ok(item) => Ok(item),
                    Err(JoinTimeoutError::Failed(error)) => Err(error),
                    Err(
                        JoinTimeoutError::Timeout(task) | JoinTimeoutError::Interrupted(task, _),
                    ) => return Some(Hired { task, ..self }),
                },
                _ => self.task.join(),
            };
            assert!(self.is_over.load(SeqCst));
            match result {
                Ok(item) => {
                    assert_eq!(item.number, self.number);
                    item.got();
                }
                Err(JoinError::Cancelled) => assert!(self.may_be_cancelled.load(SeqCst)),
                Err(JoinError::Panic(panic)) => resume_unwind(panic),
            }
            None
        }
    }
    fn hire(state: &State, actor: &mut Actor) -> Hired {
        let family = Family::new(&state.lock);
        let item = state.books.item();
        let number = item.number;
        let life = match Life::any(actor) {
            Life::Endless | Life::Failing | Life::Panicking => Life::Locking,
            life => life,
        };
        let is_over = Arc::new(AtomicBool::new(false));
        let over = is_over.clone();
        let over = OnDrop(move || over.store(true, SeqCst));
        let work = move || {
            let _over = over;
            family.live(life, item).ok().expect("it does not fail")
        };
        let home = state.homes.get(actor.random.below(state.homes.len() + 1));
        Hired {
            may_be_cancelled: Arc::default(),
            task: match home {
                Some(home) => home.spawn(work),
                None => spawn(work),
            },
            number,
            is_over,
        }
    }
    fn step(state: &State, actor: &mut Actor) {
        actor.at();
        let mut hired = match actor.random.below(3) {
            0 => state.hired.lock().unwrap().pop(),
            1 => Some(hire(state, actor)),
            _ => {
                let hired = hire(state, actor);
                return state.hired.lock().unwrap().push(hired);
            }
        };
        while let Some(one) = hired {
            actor.at();
            hired = one.join(actor);
            if actor.chance(8) {
                return state.hired.lock().unwrap().extend(hired);
            }
        }
    }
    let state = Arc::new(State {
        homes: arena.homes(),
        hired: std::sync::Mutex::default(),
        lock: Arc::default(),
        books: Arc::default(),
    });
    arena.round(&state, step, |_| ());
    state.hired.lock().unwrap().clear();
    balanced(&state.books);
}
