//! Spawning: from tasks, from plain threads, through schedulers and handles.

use super::current::Task;
use super::join::JoinHandle;
use crate::error::{report, Deadlock, JoinError};
use crate::rt::fibers::rounded;
use crate::rt::header::{Birth, Header};
use crate::rt::home::Home;
use crate::rt::scheduler::{with_thread_default, Handle, Scheduler};
use crate::rt::worker::{cancel_here, with_running, Tasks, Worker};
use std::io;
use std::panic::{resume_unwind, Location};
use std::process::abort;

/// Runs `f` as a new task beside the caller. As `std::thread::spawn`.
///
/// The task starts when the caller waits, yields or ends, after all that are ready then; next, if the caller joins it. With
/// [several workers](crate::SchedulerBuilder::workers) one that has nothing to do may start it at once. Called by a task, the new one
/// belongs to the same scheduler; on a plain thread, to the thread's default scheduler, which runs while the thread
/// waits for something (as in [`JoinHandle::join`]) or calls [`multitask::run`](crate::run).
///
/// So beside a [`Scheduler`] of your own, in `main` for example, it is not what you want: the default scheduler stands still
/// while yours runs. Use [`Scheduler::spawn`] there.
///
/// # Panics
/// Panics where [`Builder::spawn`] would fail: no address space for the stack, or no descriptors for the thread's
/// default scheduler.
///
/// # Examples
///
/// ```
/// let handle = multitask::spawn(|| "from a task");
/// assert_eq!(handle.join().unwrap(), "from a task");
/// ```
#[track_caller]
#[inline]
pub fn spawn<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    // SAFETY: both are `Send`.
    let birth = unsafe { unnamed(Location::caller()).anywhere() };
    expect_spawned(spawn_here(birth, f))
}

/// As [`spawn`], for a closure or a result that must stay on this thread.
///
/// ```
/// use std::{cell::Cell, rc::Rc};
///
/// let count = Rc::new(Cell::new(0));
/// let shared = count.clone();
/// multitask::spawn_local(move || shared.set(1)).join().unwrap();
/// assert_eq!(count.get(), 1);
/// ```
///
/// # Panics
/// As [`spawn`].
#[track_caller]
#[inline]
pub fn spawn_local<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    expect_spawned(spawn_here(unnamed(Location::caller()), f))
}

/// Runs the tasks of this thread's default scheduler until all have ended; at once if there are none.
///
/// [`spawn`] outside of any task adds to that scheduler.
///
/// # Errors
/// As [`Scheduler::run`].
///
/// ```
/// multitask::spawn(|| println!("hello"));
/// multitask::run()?;
/// # Ok::<(), multitask::Deadlock>(())
/// ```
pub fn run() -> Result<(), Deadlock> {
    // Where no default scheduler can be made there is none with tasks.
    with_thread_default(Scheduler::run).unwrap_or(Ok(()))
}

/// Makes a task with a name or a stack size of its own. As `std::thread::Builder`.
///
/// ```
/// use multitask::task::Builder;
///
/// let handle = Builder::new()
///     .name("deep".into())
///     .stack_size(1 << 20)
///     .spawn(|| multitask::task::current().name().map(str::to_owned))?;
/// assert_eq!(handle.join().unwrap().as_deref(), Some("deep"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder spawns nothing until `spawn` is called"]
pub struct Builder {
    name: Option<String>,
    stack_size: Option<usize>,
    /// Where the task is said to have been spawned, if not where the method is called.
    place: Option<&'static Location<'static>>,
}

impl Builder {
    /// As `spawn` alone would do it, until told otherwise.
    pub fn new() -> Self {
        Builder::default()
    }

    /// Names the task, for messages and reports.
    pub fn name(mut self, name: String) -> Self {
        self.name = Some(name);
        self
    }

    /// Sets the size of the task's stack in bytes: rounded up to a power of two, at least 16 KiB, at most 1 GiB.
    ///
    /// The default is the scheduler's: 128 KiB, and 512 KiB in a build with debug assertions, whose frames are larger.
    /// Memory is taken page by page as the task touches it, so a large stack costs address space only. A task that
    /// overflows its stack ends the process with a message that names it.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// As [`task::spawn`](spawn).
    ///
    /// # Errors
    /// `OutOfMemory`: no address space for the stack, or, on kernels before Linux 6.13, no mapping left for its guard
    /// page. `InvalidInput`: a stack size above 1 GiB. On a plain thread also what
    /// [`Scheduler::default_handle`] says. The closure is dropped.
    #[track_caller]
    pub fn spawn<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // SAFETY: both are `Send`.
        let birth = unsafe { self.birth(Location::caller())?.anywhere() };
        spawn_here(birth, f)
    }

    /// As [`task::spawn_local`](spawn_local).
    ///
    /// # Errors
    /// As [`spawn`](Builder::spawn).
    #[track_caller]
    pub fn spawn_local<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        spawn_here(self.birth(Location::caller())?, f)
    }

    /// As [`spawn`](Builder::spawn), onto `scheduler`, which belongs to the calling thread.
    ///
    /// # Errors
    /// As [`spawn`](Builder::spawn).
    #[track_caller]
    pub fn spawn_on<F, T>(self, scheduler: &Scheduler, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        // SAFETY: both are 'static.
        unsafe { spawn_unchecked(scheduler.worker(), self.birth(Location::caller())?, f) }
    }

    /// Says where the task was spawned, for reports: who calls us knows better than we do.
    pub(crate) fn place(mut self, place: &'static Location<'static>) -> Self {
        self.place = Some(place);
        self
    }

    pub(super) fn birth(self, caller: &'static Location<'static>) -> io::Result<Birth> {
        let stack_size = self.stack_size.map_or(Ok(0), rounded)?;
        let place = self.place.unwrap_or(caller);
        Ok(Birth::new(self.name.map(Into::into), place, stack_size))
    }
}

impl Scheduler {
    /// Adds a task; it runs when the scheduler does. See [`task::spawn`](spawn).
    ///
    /// # Panics
    /// Panics if there is no address space for the stack; [`Builder::spawn_on`] says so instead.
    #[track_caller]
    pub fn spawn<F, T>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // SAFETY: both are `Send`.
        let birth = unsafe { unnamed(Location::caller()).anywhere() };
        // SAFETY: both are 'static.
        expect_spawned(unsafe { spawn_unchecked(self.worker(), birth, f) })
    }

    /// Adds a task whose closure or result must stay on this thread.
    ///
    /// # Panics
    /// As [`spawn`](Scheduler::spawn).
    #[track_caller]
    pub fn spawn_local<F, T>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        // SAFETY: both are 'static.
        expect_spawned(unsafe { spawn_unchecked(self.worker(), unnamed(Location::caller()), f) })
    }

    /// Runs `f` as a task, and the others beside it, until `f` has returned; then returns what it returned. Tasks that
    /// are left stay, for the next `run`, `block_on` or `turn`.
    ///
    /// The closure may borrow. Called by a task of this scheduler it is a plain call.
    ///
    /// # Panics
    /// Panics with `f`'s panic if it panics; if the scheduler is shut down before it returns; and with the message of
    /// [`Deadlock`] if nothing can ever happen again.
    ///
    /// ```
    /// use multitask::{sleep, Scheduler};
    /// use std::time::Duration;
    ///
    /// let scheduler = Scheduler::new()?;
    /// let greeting = String::from("hello");
    /// let length = scheduler.block_on(|| {
    ///     sleep(Duration::from_millis(1));
    ///     greeting.len()
    /// });
    /// assert_eq!(length, 5);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn block_on<T>(&self, f: impl FnOnce() -> T) -> T {
        if self.runs_here() {
            return f();
        }
        // SAFETY: the task has ended, or the process, before this function returns or unwinds.
        let handle = expect_spawned(unsafe {
            spawn_unchecked(self.worker(), unnamed(Location::caller()), f)
        });
        let borrowed = AbortOnDrop;
        let ran = self.worker().run_until(|| handle.is_finished());
        if ran.is_err() {
            // It holds what it borrowed: it has to go before the caller does.
            cancel_here(handle.task().header());
            if let Err(deadlock) = self.worker().run_until(|| handle.is_finished()) {
                report(format_args!(
                    "block_on cannot give up: its task waits in a destructor. {deadlock}"
                ));
                abort();
            }
        }
        std::mem::forget(borrowed);
        match (handle.join(), ran) {
            (Ok(value), _) => value,
            (Err(JoinError::Panic(panic)), _) => resume_unwind(panic),
            (Err(JoinError::Cancelled), Err(deadlock)) => {
                panic!("block_on waits for ever: {deadlock}")
            }
            (Err(JoinError::Cancelled), Ok(())) => {
                panic!("the scheduler was shut down during block_on")
            }
        }
    }
}

/// A task that borrows is alive: the frame that it borrows from must not go.
struct AbortOnDrop;

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        abort();
    }
}

impl Handle {
    /// Adds a task from any thread; it runs when the scheduler does. See [`task::spawn`](spawn).
    ///
    /// If the scheduler is gone, or has been [shut down](Handle::shutdown), the task never starts and is cancelled. If
    /// there is no address space for its stack it ends as if it had panicked with a message that says so.
    #[track_caller]
    pub fn spawn<F, T>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.send_task(unnamed(Location::caller()), None, f)
    }

    /// As [`spawn`](Handle::spawn), but the task runs on the worker of that number, and on no other. The first, zero, is
    /// the thread that made the scheduler.
    ///
    /// # Panics
    /// Panics if there is no worker of that number.
    ///
    /// ```
    /// use multitask::Scheduler;
    /// use std::thread;
    ///
    /// let scheduler = Scheduler::builder().workers(2).build()?;
    /// let handle = scheduler.handle();
    /// let main = thread::current().id();
    /// scheduler.block_on(|| {
    ///     let place = |worker| handle.spawn_on(worker, || thread::current().id()).join().unwrap();
    ///     assert_eq!(place(0), main);
    ///     assert_ne!(place(1), main);
    /// });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn spawn_on<F, T>(&self, worker: usize, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let Some(home) = self.crew().homes().get(worker) else {
            panic!(
                "there is no worker {worker}: the scheduler has {}",
                self.workers()
            );
        };
        self.send_task(unnamed(Location::caller()), Some(home), f)
    }

    /// Both are `Send`: they go to another thread.
    fn send_task<F, T>(
        &self,
        birth: Birth,
        to: Option<&'static Home<Header>>,
        f: F,
    ) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let header = Header::new_remote(to, birth);
        // SAFETY: nobody else knows this header yet.
        unsafe { header.set_job::<Tasks, _, _>(f) };
        // SAFETY: the only handle, for the type of the job; the header was born with a reference for it.
        let handle = unsafe { JoinHandle::new(Task::new(header)) };
        self.crew().send_task(header, to);
        handle
    }
}

impl Scheduler {
    /// As [`spawn`](Scheduler::spawn), but the task runs on the worker of that number, and on no other: see
    /// [`Handle::spawn_on`].
    ///
    /// # Panics
    /// Panics if there is no worker of that number.
    #[track_caller]
    pub fn spawn_on<F, T>(&self, worker: usize, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.handle().spawn_on(worker, f)
    }
}

#[inline]
pub(super) fn unnamed(place: &'static Location<'static>) -> Birth {
    Birth::new(None, place, 0)
}

#[track_caller]
#[inline]
pub(super) fn expect_spawned<H>(spawned: io::Result<H>) -> H {
    match spawned {
        Ok(handle) => handle,
        Err(error) => panic!("failed to spawn a task: {error}"),
    }
}

/// Onto the scheduler that runs here, or the thread's default one.
#[inline]
fn spawn_here<F, T>(birth: Birth, f: F) -> io::Result<JoinHandle<T>>
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    // SAFETY: both are 'static.
    unsafe { spawn_here_unchecked(birth, f) }
}

/// # Safety
/// What `f` and its result borrow outlives the task, and the handle.
#[inline]
pub(super) unsafe fn spawn_here_unchecked<F, T>(birth: Birth, f: F) -> io::Result<JoinHandle<T>>
where
    F: FnOnce() -> T,
{
    if with_running(|_| ()).is_none() {
        // SAFETY: the caller's promise.
        return unsafe { spawn_on_default(birth, f) };
    }
    // SAFETY: the caller's promise; the worker is this thread's.
    let spawned = with_running(|worker| unsafe { spawn_unchecked(worker, birth, f) });
    spawned.expect("a loop runs here, as a moment ago")
}

/// Not by a task: so it need not be fast.
///
/// # Safety
/// What `f` and its result borrow outlives the task, and the handle.
#[cold]
unsafe fn spawn_on_default<F, T>(birth: Birth, f: F) -> io::Result<JoinHandle<T>>
where
    F: FnOnce() -> T,
{
    // SAFETY: the caller's promise; the worker is this thread's.
    with_thread_default(|scheduler| unsafe { spawn_unchecked(scheduler.worker(), birth, f) })?
}

/// # Safety
/// What `f` and its result borrow outlives the task; the caller is on the worker's thread.
#[inline]
unsafe fn spawn_unchecked<F, T>(worker: &Worker, birth: Birth, f: F) -> io::Result<JoinHandle<T>>
where
    F: FnOnce() -> T,
{
    let job = |header: &'static Header| {
        // SAFETY: nobody else knows this header yet.
        unsafe { header.set_job::<Tasks, _, _>(f) }
    };
    // SAFETY: a worker is used on its own thread only, and the birth was made for this closure.
    let header = unsafe { worker.spawn(birth, job)? };
    // SAFETY: the only handle, for the type of the job; the header was born with a reference for it.
    Ok(unsafe { JoinHandle::new(Task::new(header)) })
}
