//! The span of `tracing` round each task, with the feature of that name. In all other builds its place is taken by `span_off.rs`, of which no
//! instruction is left.
//!
//! What is entered in `tracing` is kept by the subscriber, for each thread, as a stack. So what a task has entered must be exited before
//! another one runs there, and entered again before it goes on.
//!
//! 1. A subscriber is code of the user's: it may panic, spawn, wait, run a scheduler. The worker calls it where no task runs and where nothing is
//!    borrowed, before it switches to a task and after the task stands still. A panic of it ends there, when its hook has reported it. Where a
//!    span is made, in a spawn before anything else, it is called as by the caller of that.
//! 2. The record of a task is on the stack of its worker while the task runs, and among the task's belongings while it does not: nobody looks
//!    into one while a subscriber is called. What is left of a task that has ended goes with the record.
//! 3. When a task stands still, all that it has entered is exited, down to the *ground*: what was current before it went on. That
//!    takes a subscriber that tells what is current, as those over the registry of `tracing-subscriber` do. Of one that does not, the span of the
//!    task is exited, and what it has entered through `trace::in_scope`.
//! 4. A task that is spawned in nothing but the span of a task has what is round that one round its own: it stands beside it. Tasks that each
//!    spawn the next one and end would else keep all of their spans open, each within the one before.

use std::cell::Cell;
use std::mem;
use std::panic::{catch_unwind, AssertUnwindSafe, Location};
use std::sync::atomic::{AtomicBool, Ordering};
use tracing::level_filters::LevelFilter;
use tracing::span::Id;
use tracing::subscriber::NoSubscriber;
use tracing::{dispatcher, info_span, Dispatch, Span};

/// So many spans of a task are exited at the most: a subscriber may tell of one that cannot be exited.
const MANY: usize = 1000;
/// Of the span of a task.
const TARGET: &str = "multitask::task";

/// A task has, or had, a record.
static IN_USE: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// The task that runs here has ended.
    static ENDED: Cell<bool> = const { Cell::new(false) };
    /// What the task that runs here has entered through `trace::in_scope`, first to last.
    static KEPT: Cell<Vec<Span>> = const { Cell::new(Vec::new()) };
    /// The span of the task that runs here.
    static OWN: Cell<Option<Own>> = const { Cell::new(None) };
}

/// Whether a task that is ready may have a record.
#[inline]
pub(super) fn in_use() -> bool {
    // Relaxed: who got a task to run knows what was done before it was spawned.
    IN_USE.load(Ordering::Relaxed)
}

/// What a task has that runs now is to be thrown away: the task has ended.
#[inline]
pub(super) fn note_end() {
    ENDED.set(true);
}

// ---- a task's ----

/// The record of a task that does not run, if it has one.
#[derive(Default)]
pub(super) struct Spans(Cell<Option<Box<Record>>>);

struct Record {
    task: u64,
    /// Whose all spans are that stand here.
    dispatch: Dispatch,
    span: Span,
    /// To be entered, first to last, when the task goes on: its own, and those to which its stack holds on.
    standing: Vec<Id>,
    /// See `KEPT`.
    kept: Vec<Span>,
    /// See `OWN`.
    own: Option<Own>,
}

/// A task's span, as those see it that are spawned in it.
struct Own {
    id: Id,
    /// In what it is, if that is known.
    within: Span,
}

impl Spans {
    /// None, for what is not a task.
    pub(super) const fn none() -> Self {
        Spans(Cell::new(None))
    }

    /// Those of a task that is about to be spawned here, in what is current. None if nobody subscribes.
    pub(super) fn begin(
        task: impl FnOnce() -> u64,
        name: Option<&str>,
        place: &'static Location<'static>,
    ) -> Self {
        if LevelFilter::current() == LevelFilter::OFF {
            return Spans::none();
        }
        let dispatch = dispatcher::get_default(Dispatch::clone);
        if dispatch.is::<NoSubscriber>() {
            return Spans::none();
        }
        IN_USE.store(true, Ordering::Relaxed);
        Spans(Cell::new(Some(Record::new(dispatch, task(), name, place))))
    }

    pub(super) fn is_none(&self) -> bool {
        let record = self.0.take();
        let is_none = record.is_none();
        self.0.set(record);
        is_none
    }

    /// The number that the task was said to have.
    pub(super) fn task(&self) -> Option<u64> {
        let record = self.0.take();
        let task = record.as_ref().map(|record| record.task);
        self.0.set(record);
        task
    }

    /// The task is over, or never was.
    pub(super) fn clear(&self) {
        if let Some(record) = self.0.take() {
            (*record).close();
        }
    }
}

impl Record {
    fn new(
        dispatch: Dispatch,
        task: u64,
        name: Option<&str>,
        place: &'static Location<'static>,
    ) -> Box<Self> {
        macro_rules! span {
            ($($parent:tt)*) => {
                info_span!(
                    target: TARGET,
                    $($parent)*
                    "task",
                    task.id = task,
                    task.name = name,
                    loc.file = place.file(),
                    loc.line = place.line(),
                    loc.col = place.column(),
                )
            };
        }
        let current = Span::current();
        let (span, within) = match around(&current) {
            Some(within) => (span!(parent: within.id(),), within),
            // A subscriber that does not tell what is current may know it.
            None => (span!(), current),
        };
        Box::new(Record {
            task,
            dispatch,
            standing: span.id().into_iter().collect(),
            own: span.id().map(|id| Own { id, within }),
            span,
            kept: Vec::new(),
        })
    }

    /// The current span of this thread; `None` if the subscriber does not tell, or cannot.
    fn current(&self) -> Option<Option<Id>> {
        let current = quietly(|| self.dispatch.current_span())?;
        current.is_known().then(|| current.id().cloned())
    }

    fn enter_all(&mut self) {
        for id in mem::take(&mut self.standing) {
            quietly(|| self.dispatch.enter(&id));
        }
        if !self.kept.is_empty() && self.current().is_none() {
            for kept in &self.kept {
                quietly(|| kept.with_subscriber(|(id, dispatch)| dispatch.enter(id)));
            }
        }
    }

    /// As 3 says.
    fn exit_all(&mut self, ground: Option<&Id>) {
        if self.current().is_none() {
            for kept in self.kept.iter().rev() {
                quietly(|| kept.with_subscriber(|(id, dispatch)| dispatch.exit(id)));
            }
        }
        while let Some(id) = self.current().flatten() {
            if Some(&id) == ground || self.standing.len() == MANY || self.exit(id).is_none() {
                break;
            }
        }
        // Nor is anything known if one is current that was closed while it was entered.
        let own = self.span.id();
        if let Some(own) = own.filter(|own| !self.standing.contains(own)) {
            self.exit(own);
        }
        self.standing.reverse();
    }

    /// `None` if the subscriber panics.
    fn exit(&mut self, id: Id) -> Option<()> {
        let exited = quietly(|| self.dispatch.exit(&id));
        self.standing.push(id);
        exited
    }

    fn close(self) {
        let Record {
            dispatch,
            span,
            kept,
            own,
            ..
        } = self;
        for kept in kept {
            quietly(|| drop(kept));
        }
        quietly(|| drop(span));
        quietly(|| drop(own));
        // The subscriber may go with it.
        quietly(|| drop(dispatch));
    }
}

/// What is round the span of the task that runs here, if that span is the `current` one: see 4.
fn around(current: &Span) -> Option<Span> {
    // By its target, as there may be several subscribers, with numbers of their own.
    if current.metadata()?.target() != TARGET {
        return None;
    }
    let own = exchange_own(None)?;
    let is_current = current.id().as_ref() == Some(&own.id);
    let within = is_current.then(|| quietly(|| own.within.clone())).flatten();
    exchange_own(Some(own));
    within
}

/// Calls a subscriber; `None` if it panics.
fn quietly<R>(call: impl FnOnce() -> R) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(answer) => Some(answer),
        Err(panic) => {
            // A payload whose own destructor panics is not worth a process.
            let dropped = catch_unwind(AssertUnwindSafe(|| drop(panic)));
            dropped.unwrap_or_else(mem::forget);
            None
        }
    }
}

// ---- a worker's ----

/// A task runs.
#[must_use]
pub(super) struct Run {
    record: Option<Box<Record>>,
    /// See 3.
    ground: Option<Id>,
    /// Of whoever runs the loop: `ENDED`, `KEPT` and `OWN`.
    below: (bool, Vec<Span>, Option<Own>),
}

impl Run {
    /// A task is about to go on.
    pub(super) fn begin<'a>(spans: impl FnOnce() -> Option<&'a Spans>) -> Self {
        let mut record = spans().and_then(|spans| spans.0.take());
        let ground = record.as_ref().and_then(|record| record.current());
        let kept = record.as_mut().map(|record| {
            record.enter_all();
            mem::take(&mut record.kept)
        });
        let own = record.as_mut().and_then(|record| record.own.take());
        Run {
            record,
            ground: ground.flatten(),
            below: (
                ENDED.replace(false),
                exchange_kept(kept.unwrap_or_default()),
                exchange_own(own),
            ),
        }
    }

    /// It stands still, and has `spans`; or has ended.
    pub(super) fn end<'a>(self, spans: impl FnOnce() -> Option<&'a Spans>) {
        let has_ended = ENDED.replace(self.below.0);
        let kept = exchange_kept(self.below.1);
        let own = exchange_own(self.below.2);
        let Some(mut record) = self.record else {
            return;
        };
        (record.kept, record.own) = (kept, own);
        record.exit_all(self.ground.as_ref());
        // The header of a task that has ended may be another's by now.
        match if has_ended { None } else { spans() } {
            Some(spans) => spans.0.set(Some(record)),
            None => (*record).close(),
        }
    }
}

/// Those of the task that runs from now on; returns those of the one that did.
fn exchange_kept(kept: Vec<Span>) -> Vec<Span> {
    // In the last moments of a thread nobody keeps any.
    let exchanged = KEPT.try_with(|cell| cell.replace(kept));
    exchanged.unwrap_or_default()
}

/// As `exchange_kept`.
fn exchange_own(own: Option<Own>) -> Option<Own> {
    OWN.try_with(|cell| cell.replace(own)).unwrap_or_default()
}

// ---- for the task that runs ----

/// `span`, which the task has just entered, is entered and exited with it until what is returned is dropped.
pub(crate) fn keep(span: &Span) -> Kept {
    let mut kept = exchange_kept(Vec::new());
    kept.push(span.clone());
    exchange_kept(kept);
    Kept(())
}

pub(crate) struct Kept(());

impl Drop for Kept {
    fn drop(&mut self) {
        let mut kept = exchange_kept(Vec::new());
        let last = kept.pop();
        exchange_kept(kept);
        drop(last);
    }
}

/// What the caller is in, for what is done for it on another thread.
pub(crate) struct Here(Span);

pub(crate) fn here() -> Here {
    Here(Span::current())
}

impl Here {
    pub(crate) fn run<R>(self, f: impl FnOnce() -> R) -> R {
        self.0.in_scope(f)
    }
}
