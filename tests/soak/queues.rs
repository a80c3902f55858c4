//! `Queue`, with and without a predicate.

use crate::arena::{Actor, Arena, Inside};
use multitask::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use multitask::sync::{Arc, GetError, PutError, Queue, TryGetError};

/// What goes through a queue.
struct Traffic {
    queue: Queue<u64>,
    next: AtomicU64,
    /// How many, and their sum.
    put: [AtomicU64; 2],
    got: [AtomicU64; 2],
    putting: AtomicUsize,
    getting: AtomicUsize,
}

impl Traffic {
    fn new(arena: &Arena) -> Arc<Traffic> {
        Arc::new(Traffic {
            queue: Queue::bounded(arena.random().below(5)),
            next: AtomicU64::new(1),
            put: Default::default(),
            got: Default::default(),
            putting: AtomicUsize::new(0),
            getting: AtomicUsize::new(0),
        })
    }

    fn count([count, sum]: &[AtomicU64; 2], item: u64) {
        count.fetch_add(1, SeqCst);
        sum.fetch_add(item, SeqCst);
    }

    fn put(&self, actor: &mut Actor) {
        actor.at();
        let item = self.next.fetch_add(1, SeqCst);
        let _putting = Inside::of(&self.putting);
        let back = match actor.random.below(4) {
            0 => self.queue.try_put(item).err().map(|e| e.into_inner()),
            1 => {
                let put = self.queue.put_timeout(item, actor.short());
                put.err().map(PutError::into_inner)
            }
            _ => self.queue.put(item).err().map(PutError::into_inner),
        };
        match back {
            None => Traffic::count(&self.put, item),
            Some(back) => assert_eq!(back, item),
        }
    }

    fn get(&self, actor: &mut Actor) {
        actor.at();
        let _getting = Inside::of(&self.getting);
        let got = match actor.random.below(4) {
            0 => self.queue.try_get().map_err(|error| match error {
                TryGetError::Empty => GetError::Timeout,
                TryGetError::Closed => GetError::Closed,
            }),
            1 => self.queue.get_timeout(actor.short()),
            _ => self.queue.get(),
        };
        if let Ok(item) = got {
            Traffic::count(&self.got, item);
        }
    }

    fn get_matching(&self, actor: &mut Actor) {
        actor.at();
        let parity = actor.random.below(2) as u64;
        let wanted = |item: &u64| item % 2 == parity;
        let got = match actor.random.below(3) {
            0 => self.queue.get_matching_timeout(wanted, actor.short()),
            _ => self.queue.get_matching(wanted),
        };
        if let Ok(item) = got {
            assert!(wanted(&item));
            Traffic::count(&self.got, item);
        }
    }

    /// Whoever waits with reason is told: he waits for what nobody does any more.
    fn settle(&self) {
        let (getting, putting) = (&self.getting, &self.putting);
        let has_items = !self.queue.is_empty() || putting.load(SeqCst) > 0;
        let has_room = !self.queue.is_full() || getting.load(SeqCst) > 0;
        let stuck_getter = getting.load(SeqCst) > 0 && has_items;
        let stuck_putter = putting.load(SeqCst) > 0 && has_room;
        // For a moment both may be true; for ever, somebody has been forgotten.
        if !stuck_getter && !stuck_putter {
            self.queue.close();
        }
    }

    /// Each item that was put is got once.
    fn check(&self) {
        self.queue.close();
        for item in self.queue.iter() {
            Traffic::count(&self.got, item);
        }
        let books = |[count, sum]: &[AtomicU64; 2]| (count.load(SeqCst), sum.load(SeqCst));
        assert_eq!(books(&self.put), books(&self.got));
    }
}

pub fn queue(arena: &Arena) {
    fn step(traffic: &Traffic, actor: &mut Actor) {
        if actor.chance(2) {
            traffic.put(actor);
        } else {
            traffic.get(actor);
        }
    }
    let traffic = Traffic::new(arena);
    arena.round(&traffic, step, Traffic::settle);
    traffic.check();
}

pub fn queue_matching(arena: &Arena) {
    fn step(traffic: &Traffic, actor: &mut Actor) {
        match actor.random.below(4) {
            0 | 1 => traffic.put(actor),
            2 => traffic.get_matching(actor),
            _ => traffic.get(actor),
        }
    }
    let traffic = Traffic::new(arena);
    // Who wants what is not there waits rightly.
    arena.round(&traffic, step, |traffic| traffic.queue.close());
    traffic.check();
}
