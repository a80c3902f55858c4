//! A worker's fibers that no task uses: kept warm for the next task, and given back when they are too many.
//!
//! 1. For each task of a worker there is a stack *promised*: address space, and a guard's share of the budget. So a
//!    task that was spawned can start, and the error comes out where the task is spawned.
//! 2. An idle fiber stands suspended in the worker's loop over tasks (`body`), with nothing of a task on its stack.
//! 3. Fibers that were idle for a whole interval are too many; half of them go, oldest first, until [`FLOOR`] are
//!    left. So a burst keeps its stacks for the next one, and a quiet program gives them back.

use super::fiber::{Fiber, Switch};
use super::stack::StackPool;
use std::io;

/// Idle fibers of a size that are always kept.
const FLOOR: usize = 64;
/// Stacks promised at a time.
const STEP: usize = 64;
/// The smallest stack that is made.
const MIN_SIZE: usize = 16 << 10;
/// The largest stack that is made.
const MAX_SIZE: usize = 1 << 30;

/// See the head of this file.
pub(super) struct Fibers {
    /// The first is the scheduler's default.
    classes: Vec<Class>,
    body: fn(Switch),
}

struct Class {
    size: u32,
    pool: StackPool,
    /// The last is the next to go.
    idle: Vec<Idle>,
    /// The fewest that were idle since the last trim.
    low: usize,
    tasks: usize,
    promised: usize,
}

struct Idle {
    fiber: Fiber,
    /// Of the task that had it last: an address at the top of its stack.
    switch: Switch,
}

impl Fibers {
    pub(super) fn new(default_size: u32, body: fn(Switch)) -> Self {
        Fibers {
            classes: vec![Class::new(default_size)],
            body,
        }
    }

    /// A stack for one more task of this size (zero: the default).
    ///
    /// # Errors
    /// `OutOfMemory`.
    #[inline]
    pub(super) fn promise(&mut self, size: u32) -> io::Result<()> {
        let class = self.class(size);
        if class.tasks == class.promised {
            class.promise_more()?;
        }
        class.tasks += 1;
        Ok(())
    }

    /// The task of a promise has ended.
    #[inline]
    pub(super) fn redeem(&mut self, size: u32) {
        self.class(size).tasks -= 1;
    }

    /// As `redeem`, for several that have ended, or were promised in vain.
    pub(super) fn redeem_many(&mut self, size: u32, count: usize) {
        self.class(size).tasks -= count;
    }

    /// An idle fiber, or a new one.
    ///
    /// # Errors
    /// `OutOfMemory`: the system broke the promise.
    #[inline]
    pub(super) fn take(&mut self, size: u32) -> io::Result<Fiber> {
        let body = self.body;
        let class = self.class(size);
        match class.idle.pop() {
            Some(idle) => {
                class.low = class.low.min(class.idle.len());
                Ok(idle.fiber)
            }
            None => {
                class.low = 0;
                Ok(Fiber::new(class.pool.take()?, body))
            }
        }
    }

    /// Takes back a fiber that is idle.
    #[inline]
    pub(super) fn give(&mut self, size: u32, fiber: Fiber, switch: Switch) {
        self.class(size).idle.push(Idle { fiber, switch });
    }

    /// The way back of the fiber of the default size that will be taken after so many others.
    #[inline]
    pub(super) fn peek(&self, ahead: usize) -> Option<Switch> {
        let idle = &self.classes[0].idle;
        let index = idle.len().checked_sub(ahead + 1)?;
        Some(idle[index].switch)
    }

    /// Whether there is something for `trim` to do, now or later.
    pub(super) fn are_many(&self) -> bool {
        self.classes.iter().any(|class| class.idle.len() > FLOOR)
    }

    /// Takes out the fibers that are too many. The caller ends them and gives the stacks to `put`.
    pub(super) fn trim(&mut self) -> Vec<(u32, Fiber)> {
        let mut surplus = Vec::new();
        for class in &mut self.classes {
            let unused = class.low.min(class.idle.len().saturating_sub(FLOOR));
            let size = class.size;
            surplus.extend(
                class
                    .idle
                    .drain(..unused.div_ceil(2))
                    .map(|idle| (size, idle.fiber)),
            );
            class.low = class.idle.len();
        }
        surplus
    }

    /// Takes out all.
    pub(super) fn drain(&mut self) -> Vec<(u32, Fiber)> {
        let take = |class: &mut Class| {
            let size = class.size;
            class
                .idle
                .drain(..)
                .map(move |idle| (size, idle.fiber))
                .collect::<Vec<_>>()
        };
        self.classes.iter_mut().flat_map(take).collect()
    }

    /// Takes back the stack of a fiber that has ended, and gives its memory to the system.
    pub(super) fn put(&mut self, size: u32, fiber: Fiber) {
        self.class(size).pool.put(fiber.into_slot());
    }

    /// Takes back the stack of a fiber that has ended; the pool will be dropped.
    pub(super) fn put_last(&mut self, size: u32, fiber: Fiber) {
        self.class(size).pool.put_last(fiber.into_slot());
    }

    #[inline]
    fn class(&mut self, size: u32) -> &mut Class {
        if size == 0 {
            return &mut self.classes[0];
        }
        self.other_class(size)
    }

    fn other_class(&mut self, size: u32) -> &mut Class {
        let known = self.classes.iter().position(|class| class.size == size);
        let index = known.unwrap_or_else(|| {
            self.classes.push(Class::new(size));
            self.classes.len() - 1
        });
        &mut self.classes[index]
    }
}

impl Class {
    fn new(size: u32) -> Self {
        Class {
            size,
            pool: StackPool::new(size as usize),
            idle: Vec::new(),
            low: 0,
            tasks: 0,
            promised: 0,
        }
    }

    #[cold]
    fn promise_more(&mut self) -> io::Result<()> {
        let step = self.promised + STEP;
        let promised = match self.pool.reserve(step) {
            Ok(()) => step,
            // The last ones singly.
            Err(_) => self
                .pool
                .reserve(self.promised + 1)
                .map(|()| self.promised + 1)?,
        };
        self.promised = promised;
        Ok(())
    }
}

/// The size of stack that is made for somebody who asks for `bytes`: a power of two, so that tasks share pools.
///
/// # Errors
/// `InvalidInput`: more than 1 GiB.
pub(crate) fn rounded(bytes: usize) -> io::Result<u32> {
    if bytes > MAX_SIZE {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("a task's stack has at most {MAX_SIZE} bytes, not {bytes}"),
        ));
    }
    Ok(bytes.next_power_of_two().max(MIN_SIZE) as u32)
}
