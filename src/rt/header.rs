//! What the runtime knows of a task, in one place that is not its stack.
//!
//! A plain thread that waits has a header too, so that every primitive works for tasks and threads alike; so has what stands
//! in line for a future (see `deputy`), which is neither: it has no home and no thread.
//!
//! 1. Headers live in one immortal slab: a `&'static Header` is always valid memory, and recycled when its last
//!    reference is given up. What makes a stale reference harmless is the epoch in the waiter word (see `waiter`),
//!    which never goes back.
//! 2. Fields in a `Cell` are written before the header is shared (by whoever spawns) or by the *home thread*: the
//!    thread of the worker on which the task runs, or the plain thread itself. Those that other threads read are
//!    read only after one of them has won the waiter (the task stands still then) or holds a reference (name,
//!    place: they do not change while there is one).
//! 3. A task that has started is run by its home thread only.
//! 4. A task is in at most one of: its home's ring, an inbox as `Message::Wake`, `Message::Spawn` or `Message::Offer`. It
//!    gets there by being spawned, by yielding, or by its waiter being won, and leaves by being run.
//! 5. A task that has not begun may be *up for grabs*: its home is marked. Then it belongs to nobody, and whoever
//!    takes the mark away, by one compare-exchange on `home`, is its home thread from then on. That is the one thing that
//!    decides it: who finds such a task in a ring may come too late, and the header may be in other use by then. (The
//!    thread of that home needs no compare-exchange while nobody else looks there: see `Home::claims`.)
//! 6. `refs` counts references; the task itself holds one until it has ended and its fiber has left the header.

use super::clock;
use super::fiber::{Fiber, Switch, SwitchCell};
use super::home::{Bell, Entry, Home, Message};
use super::job::{Job, Payload, Stage};
use super::locals::{Belongings, Local, LocalId};
use super::scope::Scopes;
use super::span::{self, Spans};
use super::unwind::Raised;
use crate::base::list::{Linked, Links};
use crate::base::shared::{self, per_thread};
use crate::base::shared::{thread, thread::Thread};
use crate::base::shared::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use crate::base::slab::Slab;
use crate::sys::mem::{prefetch, LINE};
use std::cell::{Cell, UnsafeCell};
use std::panic::{Location, RefUnwindSafe};
use std::ptr;
use std::sync::{atomic, OnceLock};
use std::time::{Duration, Instant};

/// See the head of this file.
#[repr(C, align(64))]
pub(crate) struct Header {
    // The first line is what a yield touches, the first two are what a wait and a wake do.
    /// The suspended task; `None` before its first suspension and after its end.
    pub(super) fiber: UnsafeCell<Option<Fiber>>,
    /// How the task leaves its stack.
    pub(super) switch: SwitchCell,
    /// The timeouts and shields that it is inside of.
    pub(crate) scopes: Scopes,
    /// The lower half of about what its stack pointer was as it last stood still: see `Worker::foresee`. Of a task that has not
    /// begun: where it was put into the ring.
    whereabouts: atomic::AtomicU32,
    /// How many unwindings of the task were set aside while it stands still; see `aside`.
    pub(super) aside: Cell<u16>,
    /// The fiber lives in the header (or did until it was resumed): the task has been suspended at least once.
    pub(super) housed: Cell<bool>,
    /// What the task is to look at before it goes on as if nothing were: see `News`. Nothing, as a rule.
    news: Cell<u8>,
    /// Epoch and state of the wait that the owner is in; only `waiter` knows its layout.
    pub(super) word: AtomicU64,
    /// The worker that the task runs on, marked if that is not settled: see invariant 5. For a plain thread: that of its
    /// default scheduler while it runs that one's loop to wait. Null is none.
    home: AtomicPtr<Home<Header>>,
    /// How far the task and its handle are; see `end`.
    pub(super) join: AtomicU32,
    /// See invariant 6.
    refs: AtomicU32,
    /// The home thread was told to cancel it, or will be: once is enough, and bounds the messages.
    cancel_sent: AtomicBool,
    /// Usable bytes of its stack, as a power of two; zero is the scheduler's default.
    stack_size: Cell<u8>,
    /// In this wait the task does not listen to cancelling or to its scopes.
    pub(super) deaf: Cell<bool>,
    /// What it waits for, or did last.
    pub(crate) why: Cell<Why>,
    /// Whether `thread` is set: a wait looks at no more than that.
    plain: Cell<bool>,
    /// For a plain thread: its wait was won by another, who has done with this header.
    pub(super) up: AtomicBool,
    /// Whether it is we who unwind its stack.
    pub(super) raised: Raised,
    /// The code behind `payload`.
    pub(super) job: Cell<Job>,
    /// Whom to wake at the end; valid while `join` says so.
    pub(super) joiner: shared::UnsafeCell<Option<(&'static Header, u64)>>,
    /// `park` and `unpark` of the public face: a token, or whom to wake.
    pub(super) token: AtomicU64,
    /// Among the worker's tasks that have been suspended.
    links: Links<Header>,
    /// Its place in the slab.
    index: Cell<u32>,
    /// A place in the ring that is kept for it while it waits for another task, perhaps.
    pub(super) seat: Cell<u32>,
    id: Cell<u64>,
    place: Cell<Option<&'static Location<'static>>>,
    /// Null if it has none. Set before the header is shared, or by the home thread.
    belongings: atomic::AtomicPtr<Belongings>,
    /// The `Group` that the task is counted in, if any; only `end` knows what to do with it. Of a deputy: what it is of, and begins with
    /// its `Pledge`.
    pub(super) group: Cell<*const ()>,
    /// The thread to unpark, if this is a plain thread's.
    pub(super) thread: UnsafeCell<Option<Thread>>,
    /// When the wait that it is in began, as a [`moment`]; of a traced task.
    since: Cell<u64>,
    /// The closure, then its result.
    pub(super) payload: Payload,
}

/// A task that has not started costs this, and what its closure holds beyond 48 bytes. (AddressSanitizer adds the bounds of stacks.)
#[cfg(all(target_pointer_width = "64", not(any(loom, multitask_asan))))]
const _: () = {
    assert!(std::mem::size_of::<Header>() == 256);
    assert!(std::mem::offset_of!(Header, word) == 64);
};

// SAFETY: by invariant 2 for the cells; the rest is atomic.
unsafe impl Sync for Header {}

// What a panic leaves half done in a header is seen by nobody: its cells are changed where nothing panics.
impl RefUnwindSafe for Header {}

impl Linked for Header {
    fn links(&self) -> &Links<Self> {
        &self.links
    }
}

/// What a task waits for: shown in reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    Nothing,
    Sleep,
    Tick,
    Timer,
    Park,
    Join,
    Read,
    Write,
    Accept,
    Connect,
    Resolve,
    Ready,
    Blocking,
    Child,
    Stdio,
    FileOpen,
    FileLock,
    Signal,
    Get,
    Put,
    Scope,
    Mutex,
    Condvar,
    Reading,
    Writing,
    Once,
    Barrier,
    Semaphore,
    Event,
    Notify,
    WaitGroup,
    Receive,
    Send,
    Oneshot,
    Select,
    SelectReady,
    #[cfg_attr(not(feature = "testing"), allow(dead_code))]
    Settle,
    Future,
    FutureReady,
}

impl Why {
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Why::Nothing => "ready to run",
            Why::Sleep => "sleeping",
            Why::Tick => "waiting for the next tick of an interval",
            Why::Timer => "waiting for a timer",
            Why::Park => "parked until somebody unparks it",
            Why::Join => "waiting for another task to end",
            Why::Read => "waiting to read",
            Why::Write => "waiting to write",
            Why::Accept => "waiting for a connection to accept",
            Why::Connect => "waiting for a connection to be made",
            Why::Resolve => "waiting for a name to be resolved",
            Why::Ready => "waiting for a descriptor to be ready",
            Why::Blocking => "waiting for a call that blocks",
            Why::Child => "waiting for a child process to end",
            Why::Stdio => "waiting for another to unlock a standard stream",
            Why::FileOpen => "waiting for the other end of a file that is opened",
            Why::FileLock => "waiting for the lock of a file",
            Why::Signal => "waiting for a signal",
            Why::Get => "waiting for an item of a queue",
            Why::Put => "waiting for room in a queue",
            Why::Scope => "waiting for the tasks of a scope to end",
            Why::Mutex => "waiting for a mutex",
            Why::Condvar => "waiting for a condition variable",
            Why::Reading => "waiting to read what an RwLock guards",
            Why::Writing => "waiting to write what an RwLock guards",
            Why::Once => "waiting for another to initialize a value",
            Why::Barrier => "waiting at a barrier",
            Why::Semaphore => "waiting for permits of a semaphore",
            Why::Event => "waiting for an event",
            Why::Notify => "waiting to be notified",
            Why::WaitGroup => "waiting for a group to be done",
            Why::Receive => "waiting to receive from a channel",
            Why::Send => "waiting to send into a channel",
            Why::Oneshot => "waiting for the one message of a channel",
            Why::Select => "waiting for the first of several things",
            Why::Settle => "waiting for all others to wait",
            Why::SelectReady => "waiting for the first of several things, a descriptor among them",
            Why::Future => "waiting for a future",
            Why::FutureReady => "waiting for a future that waits for a descriptor",
        }
    }

    /// Whether it waits for a moment.
    pub(crate) fn is_time(self) -> bool {
        matches!(self, Why::Sleep | Why::Tick | Why::Timer)
    }

    /// Whether only a descriptor's readiness, or news of another process, ends the wait.
    pub(crate) fn is_io(self) -> bool {
        matches!(
            self,
            Why::Read
                | Why::Write
                | Why::Accept
                | Why::Connect
                | Why::Ready
                | Why::Child
                | Why::Signal
                | Why::SelectReady
                | Why::FutureReady
        )
    }
}

/// `task 'name' (#id)`, as every message of the library names a task.
pub(super) fn title(name: Option<&str>, id: u64) -> String {
    format!("task '{}' (#{id})", name.unwrap_or("<unnamed>"))
}

/// Bits of `news`. One byte, so that whoever has none goes on after one look at it.
#[derive(Clone, Copy)]
enum News {
    /// Cancelling was asked for.
    Cancelled = 1,
    /// The task was not woken, but is asked to show itself; see `park`.
    Pose = 2,
    /// It remembers when its waits begin. It is no news, but a wait that has to prepare that is not one of the brief ones.
    Traced = 4,
}

/// Nanoseconds since the first such question.
fn moment() -> u64 {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    let first = *FIRST.get_or_init(Instant::now);
    clock::now().saturating_duration_since(first).as_nanos() as u64
}

/// Set in `home` while the task is up for grabs,
const UP: usize = 1;
/// or on its way to where it will be.
const ON_ITS_WAY: usize = 2;

#[inline]
fn marked(home: &Home<Header>) -> *mut Home<Header> {
    ptr::from_ref(home)
        .map_addr(|address| address | UP)
        .cast_mut()
}

/// A `JoinHandle` exists; for the rest see `end`.
pub(super) const HANDLE: u32 = 1;

static HEADERS: Slab<Header> = Slab::new();
static HOMES: Slab<Home<Header>> = Slab::new();
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// How many headers and homes are not to be had.
#[cfg(multitask_faults)]
pub(crate) fn in_use() -> (usize, usize) {
    (HEADERS.in_use(), HOMES.in_use())
}

fn new_id() -> u64 {
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

/// Headers and ids that a home takes from the common store at a time.
const BATCH: usize = 64;
/// Beyond so many spare headers a home gives half back.
const MANY_SPARE: usize = 1 << 14;
/// Lines of its stack that a task touches which returns from a call to the system.
const FRAMES: usize = 8;
/// Lines that it touches in the calls by which it waits again.
const CALLS: usize = 4;

impl Default for Header {
    fn default() -> Self {
        Header {
            word: AtomicU64::new(0),
            join: AtomicU32::new(0),
            refs: AtomicU32::new(0),
            home: AtomicPtr::new(ptr::null_mut()),
            fiber: UnsafeCell::new(None),
            housed: Cell::new(false),
            switch: SwitchCell::new(Switch::none()),
            whereabouts: atomic::AtomicU32::new(0),
            news: Cell::new(0),
            cancel_sent: AtomicBool::new(false),
            aside: Cell::new(0),
            seat: Cell::new(0),
            deaf: Cell::new(false),
            why: Cell::new(Why::Nothing),
            plain: Cell::new(false),
            scopes: Scopes::new(),
            job: Cell::new(Job::none()),
            joiner: shared::UnsafeCell::new(None),
            token: AtomicU64::new(0),
            up: AtomicBool::new(false),
            raised: Raised::new(),
            links: Links::new(),
            index: Cell::new(u32::MAX),
            stack_size: Cell::new(0),
            id: Cell::new(0),
            place: Cell::new(None),
            belongings: atomic::AtomicPtr::new(ptr::null_mut()),
            group: Cell::new(ptr::null()),
            thread: UnsafeCell::new(None),
            since: Cell::new(0),
            payload: Payload::new(),
        }
    }
}

/// What a new task is told about itself.
pub(crate) struct Birth {
    belongings: Option<Box<Belongings>>,
    place: &'static Location<'static>,
    /// Usable bytes, a power of two; zero is the scheduler's default.
    pub(crate) stack_size: u32,
    /// It may begin on any worker.
    pub(crate) anywhere: bool,
    /// The `Group` that it was counted in, if any.
    group: *const (),
}

impl Birth {
    /// A child of the task or thread that calls, from which it gets some of its values.
    #[inline]
    pub(crate) fn new(
        name: Option<Box<str>>,
        place: &'static Location<'static>,
        stack_size: u32,
    ) -> Self {
        let parent = CX.with(|cx| cx.task.get().or(cx.thread.get()));
        let parent = parent.filter(|parent| parent.has_belongings());
        let spans = Spans::begin(new_id, name.as_deref(), place);
        Birth {
            belongings: if name.is_none() && parent.is_none() && spans.is_none() {
                None
            } else {
                endow(name, parent, spans)
            },
            place,
            stack_size,
            anywhere: false,
            group: ptr::null(),
        }
    }

    /// It may begin on any worker.
    ///
    /// # Safety
    /// What it runs, and what comes of that, is `Send`.
    #[inline]
    pub(crate) unsafe fn anywhere(mut self) -> Self {
        self.anywhere = true;
        self
    }

    /// The id that its span has been told.
    #[inline(always)]
    fn said_id(&self) -> Option<u64> {
        self.belongings.as_ref()?.spans().task()
    }

    /// It is a member of `group`, a `Group`, in which it was counted.
    pub(crate) fn counted_in(mut self, group: *const ()) -> Self {
        self.group = group;
        self
    }
}

#[cold]
fn endow(
    name: Option<Box<str>>,
    parent: Option<&'static Header>,
    spans: Spans,
) -> Option<Box<Belongings>> {
    let mut inherited = Vec::new();
    if let Some(parent) = parent.and_then(Header::belongings) {
        // SAFETY: the parent is the task or thread that calls.
        unsafe { parent.bequeath(&mut inherited) };
    }
    if name.is_none() && inherited.is_empty() && spans.is_none() {
        return None;
    }
    Some(Box::new(Belongings::new(name, inherited, spans)))
}

impl Header {
    /// A task at `home` with two references: its own and its handle's. The caller is the worker of `here`.
    ///
    /// # Safety
    /// The caller is the home thread of `here`.
    #[inline]
    pub(crate) unsafe fn new_at(
        home: &'static Home<Header>,
        here: &'static Home<Header>,
        birth: Birth,
    ) -> &'static Header {
        // SAFETY: the caller is the home thread.
        let header = unsafe { here.spare_header() };
        header.init(Some(home), here.next_id(), birth, 2);
        header
    }

    /// The same from any thread, and perhaps without a home at first.
    pub(crate) fn new_remote(home: Option<&'static Home<Header>>, birth: Birth) -> &'static Header {
        let header = HEADERS.alloc_here();
        header.init(home, new_id(), birth, 2);
        header
    }

    /// The header of the plain thread that calls, with one reference.
    pub(crate) fn new_thread() -> &'static Header {
        let thread = thread::current();
        let birth = Birth {
            belongings: Some(Box::new(Belongings::new(
                thread.name().map(Into::into),
                Vec::new(),
                Spans::none(),
            ))),
            place: Location::caller(),
            stack_size: 0,
            anywhere: false,
            group: ptr::null(),
        };
        let header = HEADERS.alloc_here();
        header.init(None, new_id(), birth, 1);
        // SAFETY: nobody else knows this header yet.
        unsafe { header.set_thread(Some(thread)) };
        header
    }

    #[inline]
    fn init(&self, home: Option<&'static Home<Header>>, id: u64, birth: Birth, refs: u32) {
        self.set_home(home);
        self.news.set(0);
        self.cancel_sent.store(false, Ordering::Relaxed);
        self.deaf.set(false);
        self.raised.reset();
        self.why.set(Why::Nothing);
        self.token.store(0, Ordering::Relaxed);
        self.id.set(birth.said_id().unwrap_or(id));
        self.place.set(Some(birth.place));
        let power = birth.stack_size.checked_ilog2().unwrap_or(0);
        self.stack_size.set(power as u8);
        self.group.set(birth.group);
        if let Some(belongings) = birth.belongings {
            self.belongings
                .store(Box::into_raw(belongings), Ordering::Relaxed);
        }
        self.join.store(HANDLE, Ordering::Relaxed);
        self.refs.store(refs, Ordering::Relaxed);
    }

    pub(crate) fn id(&self) -> u64 {
        self.id.get()
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.belongings()?.name()
    }

    /// Usable bytes of its stack; zero is the scheduler's default.
    #[inline]
    pub(super) fn stack_size(&self) -> u32 {
        match self.stack_size.get() {
            0 => 0,
            power => 1 << power,
        }
    }

    /// Whether that was chosen for this task.
    #[inline]
    pub(super) fn has_own_size(&self) -> bool {
        self.stack_size.get() != 0
    }

    // ---- belongings ----

    #[inline]
    pub(super) fn has_belongings(&self) -> bool {
        !self.belongings.load(Ordering::Relaxed).is_null()
    }

    fn belongings(&self) -> Option<&Belongings> {
        // Acquire: the home thread may have made them since this header was shared.
        // SAFETY: they live as long as the header is in use.
        unsafe { self.belongings.load(Ordering::Acquire).as_ref() }
    }

    /// It is about to go on; for its worker, while no task runs.
    #[inline(always)]
    pub(super) fn begin_run(&self) -> span::Run {
        span::Run::begin(|| self.spans())
    }

    /// What `begin_run` has begun ends: it stands still, or has ended; for its worker, while no task runs.
    #[inline(always)]
    pub(super) fn end_run(&self, run: span::Run) {
        run.end(|| self.spans());
    }

    fn spans(&self) -> Option<&Spans> {
        self.belongings().map(Belongings::spans)
    }

    /// Its own value of a key; for the owner.
    ///
    /// # Safety
    /// The caller is the task or thread.
    pub(crate) unsafe fn local(&self, key: LocalId) -> Option<Local> {
        // SAFETY: the caller's promise.
        unsafe { self.belongings()?.local(key) }
    }

    /// Puts its own value of a key in; returns the one that was there.
    ///
    /// # Safety
    /// The caller is the task or thread.
    pub(crate) unsafe fn put_local(&self, local: Local) -> Option<Local> {
        if !self.has_belongings() {
            let made = Box::into_raw(Box::default());
            self.belongings.store(made, Ordering::Release);
        }
        // SAFETY: the caller's promise.
        unsafe { self.belongings()?.put(local) }
    }

    /// Takes its own value of a key out.
    ///
    /// # Safety
    /// The caller is the task or thread.
    pub(crate) unsafe fn take_local(&self, key: LocalId) -> Option<Local> {
        // SAFETY: the caller's promise.
        unsafe { self.belongings()?.take(key) }
    }

    /// Drops its own values.
    ///
    /// # Safety
    /// The caller is the task or thread, at its end; or the task never began, and the values may be anybody's.
    #[cold]
    pub(super) unsafe fn clear_locals(&self) {
        if let Some(belongings) = self.belongings() {
            // SAFETY: the caller's promise.
            unsafe { belongings.clear() }
        }
    }

    /// Gives the header of a plain thread back; for that thread.
    pub(super) fn retire_thread(&'static self) {
        // SAFETY: it is at its end.
        unsafe { self.clear_locals() };
        self.release();
    }

    // ---- identity ----

    /// Where it was spawned.
    pub(crate) fn place(&self) -> &'static Location<'static> {
        self.place.get().expect("a header in use")
    }

    /// See [`title`].
    pub(crate) fn title(&self) -> String {
        title(self.name(), self.id())
    }

    /// By invariant 2 it does not change while the header is in use.
    #[inline(always)]
    pub(crate) fn is_thread(&self) -> bool {
        self.plain.get()
    }

    /// # Safety
    /// Nobody else knows this header.
    unsafe fn set_thread(&self, thread: Option<Thread>) {
        self.plain.set(thread.is_some());
        // SAFETY: the caller's promise.
        unsafe { *self.thread.get() = thread };
    }

    /// The thread behind a plain thread's header.
    pub(super) fn thread(&self) -> Thread {
        // SAFETY: by invariant 2 it does not change while the header is in use.
        let thread = unsafe { (*self.thread.get()).clone() };
        thread.expect("a plain thread's header")
    }

    /// One more reference, for somebody who has one.
    pub(crate) fn retain(&'static self) -> &'static Header {
        self.refs.fetch_add(1, Ordering::Relaxed);
        self
    }

    /// Gives up one reference.
    #[inline]
    pub(crate) fn release(&'static self) {
        self.release_many(1);
    }

    /// Gives up `count` references.
    #[inline]
    pub(super) fn release_many(&'static self, count: u32) {
        // The last ones need no read-modify-write: nobody else can make a new one.
        if self.refs.load(Ordering::Acquire) == count
            || self.refs.fetch_sub(count, Ordering::AcqRel) == count
        {
            self.recycle();
        }
    }

    /// Has the home thread cancel it; for those who hold a reference.
    pub(crate) fn send_cancel(&'static self) {
        if let Some(home) = self.home() {
            if !self.cancel_sent.swap(true, Ordering::Relaxed) {
                home.send(Message::Cancel(self.retain()));
            }
        }
    }

    /// Whether the home thread was told to cancel it, or will be.
    #[inline]
    pub(super) fn was_sent_cancel(&self) -> bool {
        self.cancel_sent.load(Ordering::Relaxed)
    }

    // ---- where it runs ----

    /// Where it runs, or would by now; for those who hold a reference, or have won its wait.
    #[inline(always)]
    pub(crate) fn home(&self) -> Option<&'static Home<Header>> {
        // Acquire: the home may be of a scheduler that was made after this thread last looked.
        let home = self.home.load(Ordering::Acquire);
        // SAFETY: null, or a home, which is valid for ever, perhaps marked.
        unsafe {
            home.map_addr(|address| address & !(UP | ON_ITS_WAY))
                .as_ref()
        }
    }

    /// Whether that is `home`, and settled.
    #[inline]
    pub(super) fn is_at(&self, home: &Home<Header>) -> bool {
        ptr::eq(self.home.load(Ordering::Relaxed), home)
    }

    /// Whether it is up for grabs at `home`.
    pub(super) fn is_up_at(&self, home: &Home<Header>) -> bool {
        self.home.load(Ordering::Relaxed) == marked(home)
    }

    /// For whoever has it for himself.
    #[inline]
    pub(super) fn set_home(&self, home: Option<&'static Home<Header>>) {
        let home = home.map_or(ptr::null(), ptr::from_ref);
        self.home.store(home.cast_mut(), Ordering::Relaxed);
    }

    /// A new task is sent to `home`, which may put it up for grabs: until then it is nobody's neighbour.
    pub(super) fn set_off_for(&self, home: &Home<Header>) {
        let marked = ptr::from_ref(home).map_addr(|address| address | ON_ITS_WAY);
        self.home.store(marked.cast_mut(), Ordering::Relaxed);
    }

    /// Takes it if it is up for grabs at `from`: it is at `to` then. For `to`'s thread, during a raid if `from` is another.
    #[inline]
    pub(super) fn take_from(&self, from: &Home<Header>, to: &Home<Header>) -> bool {
        let to = ptr::from_ref(to).cast_mut();
        // Acquire: what the one who put it up made of it is seen. Release: and by the next who takes it.
        self.home
            .compare_exchange(marked(from), to, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// The same for the thread of the home where it is up for grabs, while there is no raid there.
    #[inline]
    fn take_plainly(&self, at: &Home<Header>) -> bool {
        // Who made it has put it up: this thread.
        let taken = self.is_up_at(at);
        if taken {
            self.home
                .store(ptr::from_ref(at).cast_mut(), Ordering::Release);
        }
        taken
    }

    #[inline(always)]
    pub(super) fn whereabouts(&self) -> u32 {
        self.whereabouts.load(atomic::Ordering::Relaxed)
    }

    #[inline(always)]
    pub(super) fn set_whereabouts(&self, whereabouts: u32) {
        self.whereabouts
            .store(whereabouts, atomic::Ordering::Relaxed);
    }

    /// Has fetched what a task touches first when it goes on: the cost of a miss is waiting, and so is paid while the caller does
    /// something else. In vain unless the task stands still.
    #[inline(always)]
    pub(super) fn foresee(&self) {
        let (_, top) = self.switch.get().stack(self.whereabouts());
        self.foresee_base();
        prefetch(top);
        prefetch(top.wrapping_byte_sub(LINE));
    }

    /// The same where the stack has been seen to but for its base: the way back to who resumes the task.
    #[inline(always)]
    pub(super) fn foresee_base(&self) {
        let (base, _) = self.switch.get().stack(0);
        prefetch(base);
    }

    /// The same of the frames that it returns through, and of those of the calls by which it waits again.
    #[inline(always)]
    pub(super) fn foresee_frames(&self) {
        let (_, top) = self.switch.get().stack(self.whereabouts());
        for line in 1..=FRAMES {
            prefetch(top.wrapping_byte_add(line * LINE));
        }
        for line in 2..=CALLS {
            prefetch(top.wrapping_byte_sub(line * LINE));
        }
    }

    // ---- news ----

    /// Whether there is nothing to look at; for the home thread.
    #[inline(always)]
    pub(super) fn is_without_news(&self) -> bool {
        self.news.get() == 0
    }

    /// Whether cancelling was asked for; for the home thread.
    #[inline]
    pub(crate) fn is_cancelled(&self) -> bool {
        self.has(News::Cancelled)
    }

    /// Cancelling is asked for; by the home thread, or by who has the task for himself.
    pub(super) fn set_cancelled(&self) {
        self.add(News::Cancelled);
    }

    /// It was not meant so: a test has ordered a panic instead; for the task.
    pub(super) fn forget_cancelled(&self) {
        self.remove(News::Cancelled);
    }

    /// When it is resumed next it is to show itself, and to stand still again; by the home thread.
    pub(super) fn ask_to_pose(&self) {
        self.add(News::Pose);
    }

    /// Whether it was asked to, since the last time; for the task.
    pub(super) fn was_asked_to_pose(&self) -> bool {
        let asked = self.has(News::Pose);
        if asked {
            self.remove(News::Pose);
        }
        asked
    }

    /// From now on it remembers when its waits begin, and is in one since now; by the home thread.
    pub(super) fn trace(&self) {
        self.add(News::Traced);
        self.since.set(moment());
    }

    /// A wait begins; for the task.
    pub(super) fn note_wait(&self) {
        if self.has(News::Traced) {
            self.since.set(moment());
        }
    }

    /// For how long it has been waiting, if it does and was [traced](Header::trace); for the home thread.
    pub(super) fn waited(&self) -> Option<Duration> {
        let nanos = moment().saturating_sub(self.since.get());
        self.has(News::Traced).then(|| Duration::from_nanos(nanos))
    }

    #[inline(always)]
    fn has(&self, news: News) -> bool {
        self.news.get() & news as u8 != 0
    }

    fn add(&self, news: News) {
        self.news.set(self.news.get() | news as u8);
    }

    fn remove(&self, news: News) {
        self.news.set(self.news.get() & !(news as u8));
    }

    /// What the task will run.
    ///
    /// # Safety
    /// The header is new, and nobody else knows it yet.
    #[inline]
    pub(crate) unsafe fn set_job<S: Stage, F: FnOnce() -> T, T>(&self, f: F) {
        // SAFETY: the payload of a new header is empty.
        let job = unsafe { Job::emplace::<S, F, T>(&self.payload, f) };
        self.job.set(job);
    }

    #[inline]
    fn recycle(&'static self) {
        if self.is_thread() || self.has_belongings() {
            self.strip();
        }
        match CX.with(|cx| cx.home.get()) {
            // SAFETY: this is its home thread.
            Some(home) => unsafe { home.give_spare(self) },
            None => self.free(),
        }
    }

    #[cold]
    fn free(&'static self) {
        HEADERS.free(self.index.get());
    }

    /// Lets go what few headers have.
    #[cold]
    fn strip(&'static self) {
        // SAFETY: the last reference is gone; by invariant 6 the task is off this header.
        unsafe { self.set_thread(None) };
        if self.has_belongings() {
            let belongings = self.belongings.swap(ptr::null_mut(), Ordering::Relaxed);
            // SAFETY: boxed when they were made; the last reference is gone.
            drop(unsafe { Box::from_raw(belongings) });
        }
    }
}

impl Slab<Header> {
    /// A batch into `spare`, and one of them out again.
    #[cold]
    fn refill(&'static self, spare: &mut Vec<&'static Header>) -> &'static Header {
        let mut indices = Vec::with_capacity(BATCH);
        self.alloc_many(BATCH, &mut indices);
        // The lowest index is taken first: neighbours in time are neighbours in memory.
        spare.extend(indices.into_iter().rev().map(|index| self.numbered(index)));
        spare.pop().expect("a batch is not empty")
    }

    fn alloc_here(&'static self) -> &'static Header {
        self.numbered(self.alloc())
    }

    fn numbered(&'static self, index: u32) -> &'static Header {
        let header = self.get(index);
        header.index.set(index);
        header
    }
}

impl Home<Header> {
    /// A home for the worker that the calling thread is making.
    pub(crate) fn open(bell: Bell) -> &'static Home<Header> {
        let index = HOMES.alloc();
        let home = HOMES.get(index);
        home.start(index, bell);
        home
    }

    /// The worker is gone: late rings fall silent.
    pub(crate) fn close(&self) {
        self.silence();
        // SAFETY: the home thread closes its home.
        let spare = unsafe { self.spare() };
        HEADERS.free_many(spare.drain(..).map(|header| header.index.get()));
    }

    /// Gives the home to the next worker that is made: nobody can send to this one any more.
    pub(crate) fn recycle(&self) {
        HOMES.free(self.index());
    }

    /// The task that has been ready for longest; the caller's from now on.
    ///
    /// # Safety
    /// The caller is the home thread.
    #[inline(always)]
    pub(super) unsafe fn next(&self) -> Option<&'static Header> {
        loop {
            // SAFETY: the caller is the home thread.
            if let Some(task) = self.settled(unsafe { self.pop() }?) {
                return Some(task);
            }
        }
    }

    /// The task of an entry that was popped, if it is still to be had.
    #[inline(always)]
    pub(super) fn settled(&self, entry: Entry<Header>) -> Option<&'static Header> {
        match entry {
            Entry::Ready(task) => Some(task),
            Entry::Free(task) => self.settle(task),
        }
    }

    #[inline(never)]
    fn settle(&self, task: &'static Header) -> Option<&'static Header> {
        self.claim(task).then_some(task)
    }

    /// Takes a task that may be up for grabs here; false if it is not.
    #[inline]
    fn claim(&self, task: &'static Header) -> bool {
        self.claims
            .claim(|| task.take_plainly(self), || task.take_from(self, self))
    }

    /// Puts a new task at the end of the queue.
    ///
    /// # Safety
    /// The caller is the home thread.
    #[inline(always)]
    pub(super) unsafe fn line_up(&self, task: &'static Header) {
        // SAFETY: the caller is the home thread.
        task.set_whereabouts(unsafe { self.push_entry(Entry::Ready(task)) });
    }

    /// The same for one that is up for grabs from then on; until now the caller has it for himself.
    ///
    /// # Safety
    /// The caller is the home thread.
    #[inline]
    pub(super) unsafe fn put_up(&self, task: &'static Header) {
        // SAFETY: the caller is the home thread.
        task.set_whereabouts(unsafe { self.push_entry(Entry::Free(task)) });
        // Release: whoever takes it sees what was made of it.
        task.home.store(marked(self), Ordering::Release);
    }

    /// Lets a task that has not begun, and is here or up for grabs here, begin next, and `joiner` go on after it and what was
    /// spawned with it. True if it is this worker's and nobody else's; false if it was taken, or is not here.
    ///
    /// # Safety
    /// The caller is the home thread, holds a reference, and `joiner` runs and is about to wait for the task.
    #[inline]
    pub(super) unsafe fn hasten(&self, task: &'static Header, joiner: &Header) -> bool {
        if !task.is_at(self) {
            // SAFETY: the caller is the home thread.
            if !unsafe { self.keep(task) } {
                return false;
            }
        } else if task.housed.get() {
            return true;
        }
        // SAFETY: as above.
        if let Some(hole) = unsafe { self.bring_forward(task.whereabouts(), task) } {
            joiner.seat.set(hole);
        }
        true
    }

    /// Takes a task out of the queue that has not begun, needs no stack of its own size, and is all that is there; false if it is not
    /// so, or another has taken it.
    ///
    /// # Safety
    /// The caller is the home thread and holds a reference.
    #[inline(always)]
    pub(super) unsafe fn take_only(&self, task: &'static Header) -> bool {
        // SAFETY: the caller's promise.
        if !task.is_at(self) && !unsafe { self.keep(task) } {
            return false;
        }
        // SAFETY: as above.
        !task.housed.get() && !task.has_own_size() && unsafe { self.pop_only(task) }
    }

    /// Takes a task that is up for grabs here for this worker; false if another has taken it.
    ///
    /// # Safety
    /// The caller is the home thread.
    #[inline(never)]
    pub(super) unsafe fn keep(&self, task: &'static Header) -> bool {
        let kept = task.is_up_at(self) && self.claim(task);
        // SAFETY: the caller is the home thread.
        if kept && !unsafe { self.settle_entry(task.whereabouts(), task) } {
            // It was moved with others, and who finds it there finds it gone.
            // SAFETY: as above.
            unsafe { self.line_up(task) };
        }
        kept
    }

    /// Calls `look` with a task that may be up for grabs here, and is not while that goes on; not, if another has taken it.
    ///
    /// Who found it gone meanwhile may lie down: the caller has to tell those who would take it.
    ///
    /// # Safety
    /// The caller is the home thread, has the entry from its ring, and the ring does not change meanwhile.
    pub(super) unsafe fn look_at_free(
        &self,
        task: &'static Header,
        look: impl FnOnce(&'static Header),
    ) {
        if self.claim(task) {
            look(task);
            // Release, as in `put_up`.
            task.home.store(marked(self), Ordering::Release);
        }
    }

    /// A header that is nobody's.
    ///
    /// # Safety
    /// The caller is the home thread.
    #[inline]
    unsafe fn spare_header(&self) -> &'static Header {
        // SAFETY: the caller is the home thread.
        let spare = unsafe { self.spare() };
        spare.pop().unwrap_or_else(|| HEADERS.refill(spare))
    }

    /// Gives one back.
    ///
    /// # Safety
    /// The caller is the home thread, and nobody refers to the header.
    #[inline]
    unsafe fn give_spare(&self, header: &'static Header) {
        // SAFETY: the caller is the home thread.
        let spare = unsafe { self.spare() };
        if spare.len() == spare.capacity() {
            Self::make_room(spare);
        }
        spare.push(header);
    }

    /// For one more at least.
    #[cold]
    #[inline(never)]
    fn make_room(spare: &mut Vec<&'static Header>) {
        let (len, left) = (spare.len(), MANY_SPARE.saturating_sub(spare.len()));
        if left > 0 {
            return spare.reserve_exact(len.max(BATCH).min(left));
        }
        let surplus = spare.drain(..MANY_SPARE / 2);
        HEADERS.free_many(surplus.map(|header| header.index.get()));
    }

    fn next_id(&self) -> u64 {
        self.numbered(
            || NEXT_ID.fetch_add(BATCH as u64, Ordering::Relaxed),
            BATCH as u64,
        )
    }
}

/// What the calling thread is doing.
pub(crate) struct Cx {
    /// The task that runs; `None` on a plain thread and in the worker's own code.
    pub(crate) task: Cell<Option<&'static Header>>,
    /// The header of the plain thread, once it has one. A loop that runs inside a wait has one of its own, should it
    /// have to wait outside of any task: a header is in one wait at a time.
    pub(crate) thread: Cell<Option<&'static Header>>,
    /// The home of the worker whose loop runs on this thread.
    pub(crate) home: Cell<Option<&'static Home<Header>>>,
    /// Operations that the running task may still do before it has to let others run.
    pub(crate) budget: Cell<u32>,
    /// Code of the user's runs while something is locked: nothing may wait.
    pub(crate) bound: Cell<bool>,
    /// A task that has just left its fiber, which is still in its header: see `Worker::retire`.
    pub(super) ended: Cell<Option<&'static Header>>,
}

per_thread! {
    // One load off the thread pointer, also in the last moments of a thread.
    pub(crate) static CX: Cx = Cx {
        task: Cell::new(None),
        thread: Cell::new(None),
        home: Cell::new(None),
        budget: Cell::new(0),
        bound: Cell::new(false),
        ended: Cell::new(None),
    };
}

#[cfg(all(test, loom))]
pub(crate) mod models {
    use super::super::home::models::Rings;
    use super::*;
    use std::sync::Arc;

    /// A header of one schedule of a model, with a home of its own; freed with this, when all other threads have ended.
    pub(crate) struct Actor {
        pub(crate) header: &'static Header,
        pub(crate) home: &'static Home<Header>,
        pub(crate) rings: Arc<Rings>,
    }

    impl Actor {
        /// A task with `refs` references.
        pub(crate) fn task(refs: u32) -> Self {
            let actor = Actor::thread(refs);
            actor.header.set_home(Some(actor.home));
            // SAFETY: nobody else knows this header yet.
            unsafe { actor.header.set_thread(None) };
            actor
        }

        /// A plain thread that does not run a loop while it waits.
        pub(crate) fn thread(refs: u32) -> Self {
            let (home, rings) = Home::of_model();
            let header = Header {
                refs: AtomicU32::new(refs),
                join: AtomicU32::new(HANDLE),
                index: Cell::new(next_index()),
                plain: Cell::new(true),
                thread: UnsafeCell::new(Some(thread::current())),
                ..Header::default()
            };
            let (header, home) = (Box::leak(Box::new(header)), Box::leak(Box::new(home)));
            header.word.make();
            header.home.make();
            header.join.make();
            header.refs.make();
            header.up.make();
            header.token.make();
            header.joiner.make();
            Actor {
                header,
                home,
                rings,
            }
        }

        /// Parks: nobody goes on here before somebody has made the task ready.
        pub(crate) fn stand_still(&self) {
            while !self.was_made_ready() {
                thread::yield_now();
            }
        }

        /// Whether somebody has; takes that back.
        pub(crate) fn was_made_ready(&self) -> bool {
            matches!(self.home.inbox().pop(), Some(Message::Wake(_)))
        }
    }

    impl Drop for Actor {
        fn drop(&mut self) {
            let (header, home) = (ptr::from_ref(self.header), ptr::from_ref(self.home));
            // SAFETY: leaked when they were made; the other threads of the schedule have ended.
            unsafe {
                drop(Box::from_raw(header.cast_mut()));
                drop(Box::from_raw(home.cast_mut()));
            }
        }
    }

    /// The plain threads of a schedule, which may call what waits; to be dropped when all have ended.
    pub(crate) struct Cast(Vec<Actor>);

    impl Cast {
        /// The calling thread is the first of them.
        pub(crate) fn here() -> Self {
            let me = Actor::thread(1);
            me.header.enter();
            Cast(vec![me])
        }

        /// One more, which does `part`.
        pub(crate) fn spawn<R: 'static>(
            &mut self,
            part: impl FnOnce() -> R + 'static,
        ) -> loom::thread::JoinHandle<R> {
            let actor = Actor::thread(1);
            let header = actor.header;
            self.0.push(actor);
            loom::thread::spawn(move || {
                header.enter();
                part()
            })
        }
    }

    impl Header {
        /// Makes the calling thread the one behind this header.
        fn enter(&'static self) {
            // SAFETY: nobody looks at it before this thread has shown a waiter.
            unsafe { self.set_thread(Some(thread::current())) };
            CX.with(|cx| cx.thread.set(Some(self)));
        }

        /// What a recycled one becomes for a new task at `home`: it has a handle that keeps it.
        pub(crate) fn renew(&self, home: &'static Home<Header>) {
            let birth = Birth::new(None, Location::caller(), 0);
            self.init(Some(home), 1, birth, 2);
        }

        /// If it was recycled since somebody last asked: makes every later use of it a fault. True then.
        pub(crate) fn was_recycled(&self) -> bool {
            let recycled = HEADERS.forget(self.index.get());
            if recycled {
                self.end();
            }
            recycled
        }

        /// It is given to another task or thread.
        pub(crate) fn end(&self) {
            self.join.end();
            self.refs.end();
            self.up.end();
            self.token.end();
        }
    }

    fn next_index() -> u32 {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed)
    }
}
