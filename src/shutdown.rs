//! [`Handle::shutdown`]: ends a scheduler's tasks in a given time, and says which did not end.
//!
//! 1. The tasks are cancelled by the workers themselves, each its own. Whoever waits is told by the worker that finds, as
//!    it lies down or leaves its loop, that no more are left than the caller itself; see `rt::crew`.
//! 2. A worker that does not come round, for a task computes there or blocks the thread, cannot be asked. It is waited for a
//!    little, and named then.

use crate::rt::clock;
use crate::rt::home::{Errand, Message};
use crate::rt::portrait::Portrait;
use crate::rt::scheduler::Handle;
use crate::rt::worker::{with_local, with_running, Worker};
use crate::sync::mpsc::{channel, Sender};
use crate::sync::Event;
use crate::task::{current, TaskId};
use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long workers are waited for that are asked what is left.
const GRACE: Duration = Duration::from_millis(100);

impl Handle {
    /// Cancels all tasks of the scheduler, and every one that is spawned from now on, and waits until they have ended or
    /// `deadline` has passed. Suspends.
    ///
    /// Called by one of these tasks it leaves that one alone. Called by the thread that made the scheduler, outside of
    /// any task, it runs the scheduler meanwhile. On any other thread it blocks; the scheduler has to be run by its own.
    ///
    /// # Errors
    /// [`Unfinished`] says which tasks are left: they wait in a destructor, are [shielded](crate::task::shield), or go on without
    /// ever waiting. They stay cancelled, and end when they can.
    ///
    /// # Examples
    ///
    /// ```
    /// use multitask::{sleep, sync::Event, task, Scheduler};
    /// use std::sync::Arc;
    /// use std::time::{Duration, Instant};
    ///
    /// let scheduler = Scheduler::new()?;
    /// scheduler.spawn(|| sleep(Duration::MAX));
    /// let saved = Arc::new(Event::new());
    /// let waits = saved.clone();
    /// task::Builder::new().name("stubborn".into()).spawn_on(&scheduler, move || {
    ///     task::shield(|| waits.wait());
    /// })?;
    /// scheduler.turn(Some(Duration::ZERO))?; // both have begun
    /// let soon = Instant::now() + Duration::from_millis(10);
    /// let left = scheduler.handle().shutdown(soon).unwrap_err();
    /// assert!(left.tasks().iter().any(|task| task.name() == Some("stubborn")));
    /// saved.set();
    /// scheduler.handle().shutdown(Instant::now() + Duration::from_secs(10))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn shutdown(&self, deadline: Instant) -> Result<(), Unfinished> {
        let crew = self.crew();
        let inside = with_running(|worker| Arc::ptr_eq(worker.crew(), crew)) == Some(true);
        let caller = inside.then(current);
        let spared = caller.as_ref().map(|task| task.header());
        for home in crew.homes() {
            crew.send(home, Message::Shutdown(spared));
        }
        let allowed = usize::from(inside);
        let run = |worker: &Worker| worker.run_out(allowed, worker.in_own_time(deadline));
        let is_outside = with_running(|_| ()).is_none();
        let here = is_outside
            .then(|| with_local(crew.captain(), run))
            .flatten();
        if here.is_none() {
            let ended = Arc::new(Event::new());
            let tell = ended.clone();
            crew.when_at_most(allowed, Box::new(move || tell.set()));
            let _in_time = ended.wait_deadline(deadline);
        }
        if crew.is_at_most(allowed) {
            return Ok(());
        }
        let left = self.ask(is_outside);
        if crew.is_at_most(allowed) {
            return Ok(());
        }
        Err(left.without(caller.map(|task| task.id())))
    }

    /// What is left at each worker.
    fn ask(&self, is_outside: bool) -> Unfinished {
        let (tell, told) = channel();
        let homes = self.crew().homes();
        for (number, home) in homes.iter().enumerate() {
            // A loop that does not run cannot answer, but its thread is this one.
            let here = is_outside.then(|| with_local(home, Worker::left)).flatten();
            match here {
                Some(left) => _ = tell.send((number, left)),
                None => self
                    .crew()
                    .send(home, Message::Ask(errand(number, tell.clone()))),
            }
        }
        drop(tell);
        let until = clock::now() + GRACE;
        let mut silent: Vec<usize> = (0..homes.len()).collect();
        let mut tasks = Vec::new();
        while let Ok((number, left)) = told.recv_deadline(until) {
            silent.retain(|other| *other != number);
            tasks.extend(left.into_iter().map(UnfinishedTask));
        }
        Unfinished { tasks, silent }
    }
}

fn errand(number: usize, tell: Sender<(usize, Vec<Portrait>)>) -> Box<Errand> {
    Box::new(Box::new(move || {
        if let Some(left) = with_running(Worker::left) {
            // Who asks may have given up.
            let _told = tell.send((number, left));
        }
    }))
}

/// What [`Handle::shutdown`] did not see the end of.
#[derive(Debug)]
pub struct Unfinished {
    tasks: Vec<UnfinishedTask>,
    silent: Vec<usize>,
}

impl Unfinished {
    /// The tasks that have begun and stand suspended.
    pub fn tasks(&self) -> &[UnfinishedTask] {
        &self.tasks
    }

    /// The workers, by their numbers, that did not come round to say what is left: a task goes on there without
    /// waiting, or blocks the thread.
    pub fn silent_workers(&self) -> &[usize] {
        &self.silent
    }

    fn without(mut self, caller: Option<TaskId>) -> Self {
        self.tasks.retain(|task| Some(task.id()) != caller);
        self
    }
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not all tasks have ended in time:")?;
        for task in &self.tasks {
            write!(f, "\n  {task}")?;
        }
        for worker in &self.silent {
            write!(f, "\n  what runs on worker {worker}, which does not wait")?;
        }
        Ok(())
    }
}

impl Error for Unfinished {}

/// A task that has not ended; see [`Unfinished`].
#[derive(Debug)]
pub struct UnfinishedTask(Portrait);

impl UnfinishedTask {
    /// Its name, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.0.name.as_deref()
    }

    /// Its number.
    pub fn id(&self) -> TaskId {
        TaskId::from_number(self.0.id)
    }

    /// Where it was spawned.
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.0.place
    }

    /// What it waits for, in words.
    pub fn waits_for(&self) -> &'static str {
        self.0.waits_for()
    }
}

impl fmt::Display for UnfinishedTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
