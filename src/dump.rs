//! What all tasks of a scheduler are doing: a list for people who wonder why nothing happens.
//!
//! ```
//! use multitask::{dump::State, task, Scheduler};
//! use std::time::Duration;
//!
//! let scheduler = Scheduler::new()?;
//! task::Builder::new().name("idler".into()).spawn_on(&scheduler, || task::park())?;
//! scheduler.turn(Some(Duration::ZERO))?;
//!
//! let dump = scheduler.dump();
//! let idler = &dump.tasks()[0];
//! assert_eq!(idler.name(), Some("idler"));
//! assert_eq!(idler.state(), State::Waiting);
//! assert_eq!(idler.waits_for(), "parked until somebody unparks it");
//! assert!(idler.stack().unwrap().used < 64 << 10);
//! println!("{dump}"); // with the backtrace of each
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A dump costs nothing until somebody asks for it. Then each worker looks at its own tasks, between two of them, and has each
//! one that is suspended show where it stands: some microseconds for each. The task notices nothing of it.
//!
//! 1. The tasks of a worker are looked at by its own thread: by the one that asks, if that is the one and the loop does
//!    not run, else by the loop when it comes round.
//! 2. Who asks does not wait for ever. A worker that has not begun to answer in time is named as such; one that has is
//!    waited for, as it works for us.

use crate::rt::clock;
use crate::rt::home::{Errand, Message};
use crate::rt::portrait::Portrait;
use crate::rt::scheduler::{Handle, Scheduler};
use crate::rt::worker::{with_local, with_running, Worker};
use crate::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use crate::task::{current, TaskId};
use std::fmt;
use std::panic::Location;
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use crate::rt::portrait::{StackUse, State};
pub use crate::rt::trace::TaskBacktrace;
pub use crate::rt::watchdog::Stall;

/// How long workers are waited for that do not answer.
const PATIENCE: Duration = Duration::from_secs(1);

impl Scheduler {
    /// What all its tasks are doing. The same as [`Handle::dump`].
    pub fn dump(&self) -> Dump {
        self.handle().dump()
    }
}

impl Handle {
    /// What all tasks of the scheduler are doing, from any thread or task. May suspend, for a second at most:
    /// [`dump_within`](Handle::dump_within) of that.
    pub fn dump(&self) -> Dump {
        self.dump_within(PATIENCE)
    }

    /// What all tasks of the scheduler are doing, from any thread or task. May suspend.
    ///
    /// The workers answer when they come round, and `patience` is how long they are waited for. One that does not, since a task
    /// computes there without ever waiting, or blocks the thread, or since its thread does not run the scheduler at
    /// present, is [named](Dump::workers) without its tasks. Called by the thread that made the scheduler, outside of
    /// its tasks, it looks itself.
    ///
    /// The workers are not stopped: with several of them a task may be seen as it was a moment before another.
    ///
    /// ```
    /// use multitask::{dump::Answer, Handle, Scheduler};
    /// use std::time::Duration;
    ///
    /// let scheduler = Scheduler::builder().workers(2).build()?;
    /// let dump = scheduler.block_on(|| Handle::current().unwrap().dump_within(Duration::from_secs(60)));
    /// assert!(dump.workers().iter().all(|worker| worker.answer() == Answer::Given));
    /// assert_eq!(dump.tasks().len(), 1); // the one that asks
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn dump_within(&self, patience: Duration) -> Dump {
        let crew = self.crew();
        let inside = with_running(|worker| Arc::ptr_eq(worker.crew(), crew)) == Some(true);
        let caller = inside.then(|| current().id());
        let (mut inquiry, tell) = Inquiry::new(crew.homes().len());
        for (number, home) in crew.homes().iter().enumerate() {
            match with_local(home, look) {
                Some(Look::Done(portraits)) => inquiry.take(number, portraits),
                Some(Look::Vain) => {}
                None if number > 0 && !crew.has_begun() => inquiry.settle(number, Answer::NotBegun),
                Some(Look::Ask) | None => {
                    crew.send(home, Message::Ask(errand(number, tell.clone())));
                    inquiry.asked += 1;
                }
            }
        }
        drop(tell);
        inquiry.wait(clock::now().checked_add(patience));
        inquiry.into_dump(caller)
    }
}

impl Stall {
    /// The number of the task.
    pub fn id(&self) -> TaskId {
        TaskId::from_number(self.number)
    }
}

/// What can be done about a worker of this thread.
enum Look {
    Done(Vec<Portrait>),
    /// Its loop runs, and it is we who run in it.
    Ask,
    /// Its loop stands still below, in a task that runs another one.
    Vain,
}

fn look(worker: &Worker) -> Look {
    if !worker.is_entered() {
        Look::Done(worker.portraits_at_rest())
    } else if with_running(|running| ptr::eq(running, worker)) == Some(true) {
        Look::Ask
    } else {
        Look::Vain
    }
}

fn errand(number: usize, tell: Sender<News>) -> Box<Errand> {
    Box::new(Box::new(move || {
        if tell.send(News::Begun).is_err() {
            // Who asked has given up.
            return;
        }
        if let Some(portraits) = with_running(Worker::portraits) {
            let _too_late = tell.send(News::Done(number, portraits));
        }
    }))
}

enum News {
    Begun,
    Done(usize, Vec<Portrait>),
}

/// What has been answered so far.
struct Inquiry {
    told: Receiver<News>,
    asked: usize,
    begun: usize,
    done: usize,
    workers: Vec<WorkerInfo>,
    tasks: Vec<TaskInfo>,
}

impl Inquiry {
    fn new(workers: usize) -> (Self, Sender<News>) {
        let (tell, told) = channel();
        let workers = (0..workers).map(|number| WorkerInfo {
            number,
            answer: Answer::Late,
        });
        let inquiry = Inquiry {
            told,
            asked: 0,
            begun: 0,
            done: 0,
            workers: workers.collect(),
            tasks: Vec::new(),
        };
        (inquiry, tell)
    }

    fn settle(&mut self, number: usize, answer: Answer) {
        self.workers[number].answer = answer;
    }

    fn take(&mut self, worker: usize, portraits: Vec<Portrait>) {
        self.settle(worker, Answer::Given);
        let tasks = portraits
            .into_iter()
            .map(|portrait| TaskInfo { portrait, worker });
        self.tasks.extend(tasks);
    }

    /// Until all have answered, or, of those that have not begun to, until the deadline.
    fn wait(&mut self, deadline: Option<Instant>) {
        while self.done < self.asked {
            let deadline = deadline.filter(|_| self.begun == self.done);
            let news = match deadline {
                Some(deadline) => self.told.recv_deadline(deadline),
                None => self.told.recv().map_err(RecvTimeoutError::from),
            };
            match news {
                Ok(News::Begun) => self.begun += 1,
                Ok(News::Done(worker, portraits)) => {
                    self.done += 1;
                    self.take(worker, portraits);
                }
                Err(RecvTimeoutError::Timeout) => return,
                // What we sent was thrown away.
                Err(RecvTimeoutError::Disconnected) => return self.settle_rest(),
            }
        }
    }

    fn settle_rest(&mut self) {
        for worker in &mut self.workers {
            if worker.answer != Answer::Given {
                worker.answer = Answer::Gone;
            }
        }
    }

    fn into_dump(mut self, caller: Option<TaskId>) -> Dump {
        self.tasks.sort_by_key(TaskInfo::id);
        for task in &mut self.tasks {
            if Some(task.id()) == caller {
                task.portrait.state = State::Running;
            }
        }
        Dump {
            tasks: self.tasks.into(),
            workers: self.workers.into(),
        }
    }
}

/// What the tasks of a scheduler were doing, as told by [`Handle::dump`]. Its `Display` form is for people.
#[derive(Clone, Debug)]
pub struct Dump {
    tasks: Arc<[TaskInfo]>,
    workers: Arc<[WorkerInfo]>,
}

impl Dump {
    /// All tasks of the workers that have answered, in the order of their numbers.
    pub fn tasks(&self) -> &[TaskInfo] {
        &self.tasks
    }

    /// The scheduler's workers, in the order of their numbers.
    pub fn workers(&self) -> &[WorkerInfo] {
        &self.workers
    }
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.tasks.len();
        let tasks = if count == 1 { "task" } else { "tasks" };
        write!(f, "{count} {tasks}")?;
        for worker in &*self.workers {
            if worker.answer != Answer::Given {
                write!(f, "\n{worker}")?;
            }
        }
        for task in &*self.tasks {
            write!(f, "\n{task}")?;
        }
        Ok(())
    }
}

/// A worker, in a [`Dump`].
#[derive(Clone, Debug)]
pub struct WorkerInfo {
    number: usize,
    answer: Answer,
}

/// What came of asking a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Answer {
    /// Its tasks are in the dump.
    Given,
    /// It did not come round in time: a task goes on there without waiting, or blocks the thread, or its thread does
    /// not run the scheduler at present.
    Late,
    /// It begins when the scheduler is run for the first time; what was sent to it is not seen yet.
    NotBegun,
    /// The scheduler is gone.
    Gone,
}

impl WorkerInfo {
    /// Its number; the first, zero, is the thread that made the scheduler.
    pub fn number(&self) -> usize {
        self.number
    }

    /// What came of asking it.
    pub fn answer(&self) -> Answer {
        self.answer
    }
}

impl fmt::Display for WorkerInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answer = match self.answer {
            Answer::Given => "has told of its tasks",
            Answer::Late => {
                "does not come round to tell of its tasks: one computes or blocks the thread, or the scheduler is not run"
            }
            Answer::NotBegun => "has not begun",
            Answer::Gone => "is gone",
        };
        write!(f, "worker {} {answer}", self.number)
    }
}

/// A task, in a [`Dump`].
#[derive(Clone, Debug)]
pub struct TaskInfo {
    portrait: Portrait,
    worker: usize,
}

impl TaskInfo {
    /// Its name, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.portrait.name.as_deref()
    }

    /// Its number.
    pub fn id(&self) -> TaskId {
        TaskId::from_number(self.portrait.id)
    }

    /// The number of the worker that it is at. One that has not begun may still go to another.
    pub fn worker(&self) -> usize {
        self.worker
    }

    /// What it is doing.
    pub fn state(&self) -> State {
        self.portrait.state
    }

    /// Whether cancelling it was asked for: it has not come to where it can end yet, or is not to begin.
    pub fn is_cancelled(&self) -> bool {
        self.portrait.cancelled
    }

    /// Where it was spawned.
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.portrait.place
    }

    /// What it waits for, in words.
    pub fn waits_for(&self) -> &'static str {
        self.portrait.waits_for()
    }

    /// For how long it has been waiting; `None` if it does not, and without
    /// [`Builder::trace_waits`](crate::SchedulerBuilder::trace_waits).
    pub fn waiting_for(&self) -> Option<Duration> {
        self.portrait
            .waited
            .filter(|_| self.state() == State::Waiting)
    }

    /// How much of its stack it uses; `None` if it has not begun.
    pub fn stack(&self) -> Option<StackUse> {
        self.portrait.stack
    }

    /// Where it stands; `None` if it has not begun, or has no 4 KiB of its stack left: to find out takes some.
    pub fn backtrace(&self) -> Option<TaskBacktrace<'_>> {
        self.portrait.trace.as_deref().map(TaskBacktrace::new)
    }
}

impl fmt::Display for TaskInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.portrait)?;
        if let Some(waited) = self.waiting_for() {
            write!(f, ", for {waited:.3?}")?;
        }
        if self.is_cancelled() {
            f.write_str(", cancelled")?;
        }
        write!(f, "\n  worker {}", self.worker)?;
        if let Some(stack) = self.stack() {
            let StackUse {
                size,
                used,
                touched,
            } = stack;
            write!(f, ", stack: {used} bytes of {} KiB in use", size >> 10)?;
            if let Some(touched) = touched {
                write!(f, ", {} KiB touched", touched >> 10)?;
            }
        }
        match self.backtrace() {
            Some(backtrace) => write!(f, "\n{backtrace}"),
            None => Ok(()),
        }
    }
}
