//! The spans of tasks: who logs in which, and what subscribers of all kinds see.

use multitask::task::{self, Builder};
use multitask::{
    sleep, spawn, spawn_local, sync, task_local, timeout, trace, yield_now, Scheduler, Timeout,
};
use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{set_global_default, with_default};
use tracing::{info, info_span, instrument, Event, Metadata, Span, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

// ---- who records ----

/// A layer that writes down what it is told.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Log>>);

#[derive(Default)]
struct Log {
    /// What was said, and in which spans, the outermost first.
    said: Vec<(String, String)>,
    /// The spans that each thread is in.
    entered: HashMap<ThreadId, Vec<Id>>,
    /// Exits of a span that was not the innermost.
    disorder: usize,
    /// The spans that are not closed.
    open: HashMap<Id, String>,
    /// The fields of the spans that were opened.
    fields: Vec<HashMap<&'static str, String>>,
}

impl Recorder {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// In which spans that was said.
    #[track_caller]
    fn where_said(&self, what: &str) -> Vec<String> {
        let log = self.log();
        let here = log.said.iter().filter(|(said, _)| said == what);
        let here: Vec<_> = here.map(|(_, spans)| spans.clone()).collect();
        assert!(!here.is_empty(), "nobody said {what}: {:?}", log.said);
        here
    }

    /// Nobody is in a span, none is open, and none was left out of order.
    #[track_caller]
    fn is_over(&self) {
        let log = self.log();
        let inside = log.entered.values().map(Vec::len).sum::<usize>();
        assert_eq!((inside, log.disorder), (0, 0));
        assert!(log.open.is_empty(), "{:?}", log.open);
    }
}

/// Fields as they are shown.
#[derive(Default)]
struct Fields(HashMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

/// How a span is called here.
struct Label(String);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recorder {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, cx: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let label = fields.0.get("task.name").or(fields.0.get("name"));
        let label = label.map_or(attributes.metadata().name(), |name| name);
        let span = cx.span(id).unwrap();
        span.extensions_mut().insert(Label(label.to_owned()));
        let mut log = self.log();
        log.open.insert(id.clone(), label.to_owned());
        log.fields.push(fields.0);
    }

    fn on_enter(&self, id: &Id, _cx: Context<'_, S>) {
        let mut log = self.log();
        let here = log.entered.entry(thread::current().id()).or_default();
        here.push(id.clone());
    }

    fn on_exit(&self, id: &Id, _cx: Context<'_, S>) {
        let mut log = self.log();
        let here = log.entered.entry(thread::current().id()).or_default();
        if here.pop().as_ref() != Some(id) {
            log.disorder += 1;
        }
    }

    fn on_close(&self, id: Id, _cx: Context<'_, S>) {
        self.log().open.remove(&id);
    }

    fn on_event(&self, event: &Event<'_>, cx: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut spans = Vec::new();
        for span in cx.event_scope(event).into_iter().flatten() {
            spans.push(span.extensions().get::<Label>().unwrap().0.clone());
        }
        spans.reverse();
        let said = (fields.0["message"].clone(), spans.join(" > "));
        self.log().said.push(said);
    }
}

/// Runs `tasks`, and the scheduler after it, recorded.
fn recorded(tasks: impl FnOnce(&Scheduler)) -> Recorder {
    recorded_and_seen(|scheduler, _recorder| tasks(scheduler))
}

/// The same for tasks that look at what is recorded.
fn recorded_and_seen(tasks: impl FnOnce(&Scheduler, Recorder)) -> Recorder {
    let recorder = Recorder::default();
    with_default(Registry::default().with(recorder.clone()), || {
        let scheduler = Scheduler::new().unwrap();
        tasks(&scheduler, recorder.clone());
        scheduler.run().unwrap();
        assert!(Span::current().is_none());
    });
    recorder
}

/// Recorded wherever nothing else is: with tasks on several threads.
fn recorded_everywhere() -> &'static Recorder {
    static EVERYWHERE: std::sync::OnceLock<Recorder> = std::sync::OnceLock::new();
    EVERYWHERE.get_or_init(|| {
        let recorder = Recorder::default();
        set_global_default(Registry::default().with(recorder.clone())).unwrap();
        recorder
    })
}

fn named(name: &str) -> Builder {
    Builder::new().name(name.to_owned())
}

// ---- a task's span ----

#[test]
fn tasks_that_take_turns_each_log_in_their_own_span() {
    let log = recorded(|scheduler| {
        for name in ["one", "two", "three"] {
            named(name)
                .spawn_on(scheduler, move || {
                    for _ in 0..3 {
                        info!("I am {name}");
                        yield_now();
                    }
                })
                .unwrap();
        }
    });
    for name in ["one", "two", "three"] {
        assert_eq!(log.where_said(&format!("I am {name}")), [name; 3]);
    }
    log.is_over();
}

#[test]
fn tasks_that_end_without_a_wait_or_run_on_large_stacks_log_in_their_own_spans() {
    let log = recorded(|scheduler| {
        for name in ["one", "two"] {
            for stack_size in [0, 1 << 20] {
                let builder = match stack_size {
                    0 => named(name),
                    bytes => named(name).stack_size(bytes),
                };
                let says = move || info!("I am {name}");
                builder.spawn_on(scheduler, says).unwrap();
            }
        }
    });
    for name in ["one", "two"] {
        assert_eq!(log.where_said(&format!("I am {name}")), [name; 2]);
    }
    log.is_over();
}

#[test]
fn a_span_says_what_its_task_is_called_its_number_and_where_it_was_spawned() {
    let id = Cell::new(0);
    let line = line!() + 2;
    let log = recorded(|scheduler| {
        let task = named("clerk").spawn_on(scheduler, || ()).unwrap();
        id.set(task.task().id().as_u64().get());
        scheduler.spawn(|| ());
    });
    let fields = &log.log().fields;
    assert_eq!(fields[0]["task.name"], "clerk");
    assert_eq!(fields[0]["task.id"], id.get().to_string());
    assert_eq!(fields[0]["loc.file"], file!());
    assert_eq!(fields[0]["loc.line"], line.to_string());
    assert!(fields[0]["loc.col"].parse::<u32>().is_ok());
    assert!(!fields[1].contains_key("task.name"));
    assert_ne!(fields[1]["task.id"], fields[0]["task.id"]);
}

#[test]
fn a_task_is_within_the_span_that_it_was_spawned_in_and_not_within_that_of_its_runner() {
    let log = recorded(|scheduler| {
        info_span!("outside").in_scope(|| {
            named("parent")
                .spawn_on(scheduler, || {
                    let inner = info_span!("inner");
                    let child = inner.in_scope(|| named("child").spawn(|| info!("who am I?")));
                    child.unwrap().join().unwrap();
                })
                .unwrap();
        });
        info_span!("runner").in_scope(|| scheduler.run().unwrap());
    });
    let said = log.where_said("who am I?");
    assert_eq!(said, ["outside > parent > inner > child"]);
    log.is_over();
}

#[test]
fn a_task_that_is_spawned_in_nothing_but_a_task_s_span_stands_beside_it() {
    let log = recorded(|scheduler| {
        info_span!("outside").in_scope(|| {
            named("parent")
                .spawn_on(scheduler, || {
                    let child = named("child").spawn(|| {
                        let grandchild = named("grandchild").spawn(|| info!("who am I?"));
                        yield_now(); // it keeps its place over a wait
                        let other = info_span!("inner")
                            .in_scope(|| named("other").spawn(|| info!("and who am I?")));
                        grandchild.unwrap().join().unwrap();
                        other.unwrap().join().unwrap();
                    });
                    child.unwrap().join().unwrap();
                })
                .unwrap();
        });
    });
    assert_eq!(log.where_said("who am I?"), ["outside > grandchild"]);
    let other = "outside > child > inner > other";
    assert_eq!(log.where_said("and who am I?"), [other]);
    log.is_over();
}

#[test]
fn tasks_that_each_spawn_the_next_one_keep_no_span_open() {
    fn next(recorder: Recorder, left: usize) {
        let open = recorder.log().open.len();
        assert!(open <= 2, "{open} spans are open");
        if left > 0 {
            spawn(move || next(recorder, left - 1));
        }
    }
    let log = recorded_and_seen(|scheduler, recorder| {
        scheduler.spawn(|| next(recorder, 1000));
        scheduler.run().unwrap();
        assert_eq!(scheduler.metrics().panicked, 0);
    });
    log.is_over();
}

#[test]
fn whatever_ends_a_task_its_spans_are_left_and_closed() {
    struct Says(&'static str);
    impl Drop for Says {
        fn drop(&mut self) {
            info!("{}", self.0);
        }
    }
    let log = recorded_and_seen(|scheduler, recorder| {
        let spawned = |name, f: fn()| named(name).spawn_on(scheduler, f).unwrap();
        let cancelled = spawned("cancelled", || {
            let span = info_span!("within");
            let _entered = span.enter();
            let _says = Says("cancelled");
            task::park();
        });
        let panics = spawned("panics", || {
            let span = info_span!("within");
            let _entered = span.enter();
            let _says = Says("panics");
            yield_now();
            std::panic::resume_unwind(Box::new("on purpose"));
        });
        let limited = spawned("limited", || {
            let out_of_time = timeout(Duration::from_millis(1), || {
                let span = info_span!("within");
                let _entered = span.enter();
                let _says = Says("limited");
                task::park();
            });
            assert_eq!(out_of_time, Err(Timeout));
            info!("after the limit");
        });
        let unstarted = spawned("unstarted", || unreachable!());
        unstarted.cancel();
        scheduler.turn(Some(Duration::ZERO)).unwrap();
        cancelled.cancel();
        scheduler.run().unwrap();
        // Their handles do not keep them open.
        recorder.is_over();
        assert!(cancelled.join().unwrap_err().is_cancelled());
        assert!(unstarted.join().unwrap_err().is_cancelled());
        assert!(!panics.join().unwrap_err().is_cancelled());
        limited.join().unwrap();
    });
    for name in ["cancelled", "panics", "limited"] {
        assert_eq!(log.where_said(name), [format!("{name} > within")]);
    }
    assert_eq!(log.where_said("after the limit"), ["limited"]);
    log.is_over();
}

#[test]
fn a_task_that_never_runs_leaves_no_span_open() {
    let log = recorded_and_seen(|scheduler, recorder| {
        let stopped = Scheduler::new().unwrap();
        let late = stopped.handle();
        stopped.spawn(|| unreachable!());
        drop(stopped);
        scheduler.spawn(move || {
            let refused = late.spawn(|| unreachable!());
            info!("beside it");
            // The handle does not keep it open: this one's alone is.
            assert_eq!(recorder.log().open.len(), 1);
            assert!(refused.join().unwrap_err().is_cancelled());
            info!("after it");
        });
        let huge = Builder::new().stack_size(usize::MAX);
        assert!(huge.spawn_on(scheduler, || ()).is_err());
    });
    assert_eq!(log.where_said("beside it"), ["task"]);
    assert_eq!(log.where_said("after it"), ["task"]);
    log.is_over();
}

#[test]
fn a_scheduler_that_is_dropped_leaves_no_span_entered_or_open() {
    let recorder = Recorder::default();
    with_default(Registry::default().with(recorder.clone()), || {
        let scheduler = Scheduler::new().unwrap();
        scheduler.spawn(|| {
            let span = info_span!("within");
            let _entered = span.enter();
            task::park();
        });
        scheduler.turn(Some(Duration::ZERO)).unwrap();
        assert!(Span::current().is_none());
        drop(scheduler);
    });
    recorder.is_over();
}

#[test]
fn a_scheduler_within_a_task_adds_its_spans_and_takes_them_away() {
    let log = recorded(|scheduler| {
        let outer = || {
            let span = info_span!("within");
            let _entered = span.enter();
            let inner = Scheduler::new().unwrap();
            for _ in 0..2 {
                let turns = || (0..3).for_each(|_| yield_now());
                named("inner").spawn_on(&inner, turns).unwrap();
            }
            inner.run().unwrap();
            info!("back again");
            yield_now();
            info!("and later");
        };
        named("outer").spawn_on(scheduler, outer).unwrap();
        named("beside")
            .spawn_on(scheduler, || (0..3).for_each(|_| yield_now()))
            .unwrap();
    });
    assert_eq!(log.where_said("back again"), ["outer > within"]);
    assert_eq!(log.where_said("and later"), ["outer > within"]);
    log.is_over();
}

// ---- what a task enters ----

#[instrument(skip_all, fields(name = name))]
fn attends(name: &str, rounds: usize) {
    for round in 0..rounds {
        info!("{name} {round}");
        match round % 2 {
            0 => yield_now(),
            _ => sleep(Duration::from_micros(100)),
        }
    }
}

#[test]
fn what_a_task_has_entered_goes_with_it_over_its_waits_and_is_not_seen_by_others() {
    let log = recorded(|scheduler| {
        for task in ["A", "B"] {
            let enters = move || {
                attends(if task == "A" { "a" } else { "b" }, 4);
                let outer = info_span!("outer");
                let _outer = outer.enter();
                yield_now();
                let inner = info_span!("inner").entered();
                yield_now();
                info!("{task} is inside");
                drop(inner);
                yield_now();
                info!("{task} is outside again");
            };
            named(task).spawn_on(scheduler, enters).unwrap();
        }
    });
    for round in 0..4 {
        assert_eq!(log.where_said(&format!("a {round}")), ["A > a"]);
        assert_eq!(log.where_said(&format!("b {round}")), ["B > b"]);
    }
    for task in ["A", "B"] {
        let said = log.where_said(&format!("{task} is inside"));
        assert_eq!(said, [format!("{task} > outer > inner")]);
        let said = log.where_said(&format!("{task} is outside again"));
        assert_eq!(said, [format!("{task} > outer")]);
    }
    log.is_over();
}

#[test]
fn a_span_that_is_entered_and_forgotten_and_even_closed_is_not_seen_by_other_tasks() {
    let log = recorded(|scheduler| {
        let forgets = || {
            let span = info_span!("forgotten");
            std::mem::forget(span.enter());
            yield_now();
            info!("forgot");
            yield_now();
            drop(span);
            yield_now();
        };
        named("careless").spawn_on(scheduler, forgets).unwrap();
        let careful = || says("careful", 5);
        named("careful").spawn_on(scheduler, careful).unwrap();
    });
    assert_eq!(log.where_said("forgot"), ["careless > forgotten"]);
    assert_eq!(log.where_said("careful"), ["careful"; 5]);
    let log = log.log();
    assert!(log.open.is_empty());
    let inside = log.entered.values().map(Vec::len).sum::<usize>();
    assert_eq!(inside, 1, "the one that was closed while it was entered");
}

/// Says it as often, with a turn for the others after each time.
fn says(what: &str, times: usize) {
    for _ in 0..times {
        info!("{what}");
        yield_now();
    }
}

#[test]
fn a_call_that_blocks_runs_in_the_span_of_its_caller() {
    let everywhere = recorded_everywhere();
    let scheduler = Scheduler::new().unwrap();
    let asks = || {
        let span = info_span!("caller");
        let _entered = span.enter();
        let here = thread::current().id();
        let there = task::blocking(|| {
            info!("on another thread");
            thread::current().id()
        });
        assert_ne!(here, there);
        info!("and back");
        there
    };
    let there = named("asker").spawn_on(&scheduler, asks).unwrap();
    scheduler.run().unwrap();
    let there = there.join().unwrap();
    let said = everywhere.where_said("on another thread");
    assert_eq!(said, ["asker > caller"]);
    assert_eq!(everywhere.where_said("and back"), ["asker > caller"]);
    assert!(everywhere.log().entered[&there].is_empty());
}

#[test]
fn tasks_of_several_workers_log_in_their_own_spans() {
    const TASKS: usize = 30;
    let everywhere = recorded_everywhere();
    let scheduler = Scheduler::builder().workers(3).build().unwrap();
    let handle = scheduler.handle();
    let threads = scheduler.block_on(|| {
        let works = |number: usize| {
            move || {
                let span = info_span!("own", name = format!("span {number}"));
                let _entered = span.enter();
                for _ in 0..5 {
                    info!("worker's task {number}");
                    sleep(Duration::from_micros(50));
                }
                thread::current().id()
            }
        };
        let placed = |number| handle.spawn_on(number % 3, works(number));
        let mut tasks: Vec<_> = (0..TASKS).map(placed).collect();
        // These begin wherever there is time for them.
        tasks.extend((TASKS..2 * TASKS).map(|number| spawn(works(number))));
        let threads = tasks.into_iter().map(|task| task.join().unwrap());
        threads.collect::<HashSet<_>>()
    });
    drop(scheduler);
    assert_eq!(threads.len(), 3);
    for number in 0..2 * TASKS {
        let said = everywhere.where_said(&format!("worker's task {number}"));
        let own = |said: &String| said.ends_with(&format!("task > span {number}"));
        assert!(said.len() == 5 && said.iter().all(own), "{said:?}");
    }
    let log = everywhere.log();
    for thread in threads {
        assert!(log.entered[&thread].is_empty());
    }
    assert_eq!(log.disorder, 0);
    let open = |label: &&String| label.starts_with("span ");
    assert_eq!(log.open.values().filter(open).count(), 0);
}

// ---- subscribers of other kinds ----

/// One that does not tell which span is current; it counts how often each is held.
#[derive(Clone, Default)]
struct Mute(Arc<Mutex<MuteLog>>);

#[derive(Default)]
struct MuteLog {
    spans: Vec<(String, usize)>,
    /// On the only thread.
    entered: Vec<usize>,
    said: Vec<(String, String)>,
}

impl Mute {
    fn log(&self) -> MutexGuard<'_, MuteLog> {
        self.0.lock().unwrap()
    }
}

fn index(id: &Id) -> usize {
    id.into_u64() as usize - 1
}

impl Subscriber for Mute {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let name = fields.0.remove("task.name");
        let name = name.unwrap_or_else(|| attributes.metadata().name().to_owned());
        let mut log = self.log();
        log.spans.push((name, 1));
        Id::from_u64(log.spans.len() as u64)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut log = self.log();
        let names = log.entered.iter().map(|span| &*log.spans[*span].0);
        let spans = names.collect::<Vec<_>>().join(" > ");
        log.said.push((fields.0["message"].clone(), spans));
    }

    fn enter(&self, id: &Id) {
        self.log().entered.push(index(id));
    }

    fn exit(&self, id: &Id) {
        let last = self.log().entered.pop();
        assert_eq!(last, Some(index(id)), "not the innermost");
    }

    fn clone_span(&self, id: &Id) -> Id {
        self.log().spans[index(id)].1 += 1;
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        let held = &mut self.log().spans[index(&id)].1;
        *held -= 1;
        *held == 0
    }
}

#[test]
fn without_knowing_what_is_current_tasks_log_in_their_spans_and_those_of_in_scope() {
    let mute = Mute::default();
    with_default(mute.clone(), || {
        let scheduler = Scheduler::new().unwrap();
        for name in ["one", "two"] {
            let enters = move || {
                trace::in_scope(&info_span!("outer"), || {
                    yield_now();
                    trace::in_scope(&info_span!("inner"), || {
                        yield_now();
                        info!("{name}, within");
                        sleep(Duration::from_micros(50));
                    });
                    yield_now();
                    info!("{name}, further out");
                });
                yield_now();
                info!("{name}, outside");
            };
            named(name).spawn_on(&scheduler, enters).unwrap();
        }
        scheduler.run().unwrap();
    });
    let log = mute.log();
    let said = |what: &str| {
        let mut said = log.said.iter().filter(|(said, _)| said == what);
        said.next().unwrap().1.clone()
    };
    for name in ["one", "two"] {
        let within = said(&format!("{name}, within"));
        assert_eq!(within, format!("{name} > outer > inner"));
        let further = said(&format!("{name}, further out"));
        assert_eq!(further, format!("{name} > outer"));
        assert_eq!(said(&format!("{name}, outside")), name);
    }
    assert!(log.entered.is_empty());
    assert!(log.spans.iter().all(|(_, held)| *held == 0));
}

/// A layer that does something whenever a span of a task is entered, exited or closed.
struct Does<F>(F);

impl<S: Subscriber + for<'a> LookupSpan<'a>, F: Fn(&str) + 'static> Layer<S> for Does<F> {
    fn on_enter(&self, _: &Id, _: Context<'_, S>) {
        (self.0)("enter");
    }

    fn on_exit(&self, _: &Id, _: Context<'_, S>) {
        (self.0)("exit");
    }

    fn on_close(&self, _: Id, _: Context<'_, S>) {
        (self.0)("close");
    }
}

/// Panics on purpose are not told.
fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if info.payload().downcast_ref::<&str>() != Some(&"of a subscriber") {
                before(info);
            }
        }));
    });
}

#[test]
fn a_subscriber_that_panics_in_any_call_of_the_worker_stops_no_task() {
    quiet_panics();
    for call in ["enter", "exit", "close"] {
        let panics = Arc::new(AtomicU64::new(0));
        let counts = panics.clone();
        let layer = Does(move |now: &str| {
            if now == call {
                counts.fetch_add(1, SeqCst);
                panic!("of a subscriber");
            }
        });
        with_default(Registry::default().with(layer), || {
            let scheduler = Scheduler::new().unwrap();
            let work = || {
                yield_now();
                sleep(Duration::from_micros(50));
                7
            };
            let tasks = [(); 3].map(|()| scheduler.spawn(work));
            let cancelled = scheduler.spawn(task::park);
            scheduler.turn(Some(Duration::ZERO)).unwrap();
            cancelled.cancel();
            scheduler.run().unwrap();
            for task in tasks {
                assert_eq!(task.join().unwrap(), 7);
            }
            assert!(cancelled.join().unwrap_err().is_cancelled());
        });
        assert!(panics.load(SeqCst) >= 3, "{call}");
    }
}

#[test]
fn a_subscriber_may_use_the_library_where_it_is_called() {
    let deep = Arc::new(AtomicBool::new(false));
    let spawned = Arc::new(AtomicU64::new(0));
    let locked = Arc::new(sync::Mutex::new(0));
    let layer = Does({
        let (deep, spawned, locked) = (deep.clone(), spawned.clone(), locked.clone());
        move |_: &str| {
            // What it does here has spans too.
            if deep.swap(true, SeqCst) {
                return;
            }
            *locked.lock().unwrap() += 1;
            yield_now();
            sleep(Duration::from_micros(1));
            let inner = Scheduler::new().unwrap();
            inner.block_on(|| sleep(Duration::from_micros(1)));
            if spawned.load(SeqCst) < 5 {
                let spawned = spawned.clone();
                drop(spawn_local(move || spawned.fetch_add(1, SeqCst)));
            }
            deep.store(false, SeqCst);
        }
    });
    with_default(Registry::default().with(layer), || {
        let scheduler = Scheduler::new().unwrap();
        let turns = Rc::new(Cell::new(0));
        for _ in 0..3 {
            let turns = turns.clone();
            scheduler.spawn_local(move || {
                for _ in 0..10 {
                    turns.set(turns.get() + 1);
                    yield_now();
                }
            });
        }
        scheduler.run().unwrap();
        assert_eq!(turns.get(), 30);
    });
    assert!(spawned.load(SeqCst) >= 1);
    assert!(*locked.lock().unwrap() >= 30);
}

#[test]
fn tasks_spawned_by_a_subscriber_or_before_it_came_run_without_spans() {
    let scheduler = Scheduler::new().unwrap();
    let early = scheduler.spawn(|| {
        yield_now();
        info!("early");
        yield_now();
        Span::current().is_none()
    });
    let recorder = Recorder::default();
    with_default(Registry::default().with(recorder.clone()), || {
        let late = || says("late", 1);
        named("late").spawn_on(&scheduler, late).unwrap();
        drop(spawn_on_nobody(&scheduler));
        scheduler.run().unwrap();
    });
    assert!(early.join().unwrap());
    assert_eq!(recorder.where_said("early"), [""]);
    assert_eq!(recorder.where_said("late"), ["late"]);
    recorder.is_over();
}

/// As a subscriber does that spawns: nobody subscribes there.
fn spawn_on_nobody(scheduler: &Scheduler) -> multitask::JoinHandle<()> {
    tracing::dispatcher::get_default(|_| scheduler.spawn(|| ()))
}

#[test]
fn a_task_spawned_in_a_task_with_a_local_has_both_its_value_and_a_span() {
    task_local! { inherited static OF: Cell<u32> = Cell::new(0); }
    let log = recorded(|scheduler| {
        scheduler.spawn(|| {
            OF.with(|of| of.set(7));
            let child = named("heir").spawn(|| {
                yield_now();
                info!("heir of {}", OF.with(Cell::get));
            });
            child.unwrap().join().unwrap();
        });
    });
    assert_eq!(log.where_said("heir of 7"), ["heir"]);
    log.is_over();
}
