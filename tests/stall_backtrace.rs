//! Where a task goes on that does not let others run: its thread is asked by a signal, whatever it is in the middle of.
#![cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(multitask_portable)
))]

mod common;

use common::ends;
use multitask::dump::Stall;
use multitask::signal::{Signal, Signals};
use multitask::task::Builder;
use multitask::{yield_now, Scheduler};
use std::env;
use std::hint::{black_box, spin_loop};
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::process::Command;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{mpsc, Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const ALLOWED: Duration = Duration::from_millis(5);

/// What is reported while it goes on.
#[derive(Clone, Default)]
struct Reports(Arc<Told>);

#[derive(Default)]
struct Told {
    /// How many there are.
    count: AtomicUsize,
    stalls: Mutex<Vec<Stall>>,
}

impl Reports {
    /// A scheduler that is watched, and what is reported; `then` is called after each report.
    fn watched(workers: usize, then: impl Fn() + Send + Sync + 'static) -> (Scheduler, Reports) {
        let reports = Reports::default();
        let told = reports.0.clone();
        let scheduler = Scheduler::builder()
            .workers(workers)
            .watchdog(ALLOWED)
            .on_stall(move |stall| {
                if !stall.is_over() {
                    told.stalls.lock().unwrap().push(stall.clone());
                    told.count.fetch_add(1, SeqCst);
                    then();
                }
            });
        (scheduler.build().unwrap(), reports)
    }

    fn count(&self) -> usize {
        self.0.count.load(SeqCst)
    }

    /// Those of the task of this name.
    fn of(&self, name: &str) -> Vec<Stall> {
        let mut stalls = self.0.stalls.lock().unwrap().clone();
        stalls.retain(|stall| stall.name() == Some(name));
        stalls
    }

    /// Has a task keep its worker again and again until a report says that it is in that function. One report may not: a thread that gets no
    /// processor does not answer in time, or is seen where it lost it. `stall` goes on until what it is given says that there is one more.
    fn until_seen(
        &self,
        name: &str,
        function: &str,
        mut stall: impl FnMut(&dyn Fn() -> bool),
    ) -> Stall {
        const TRIES: usize = 50;
        for _ in 0..TRIES {
            yield_now();
            let before = self.count();
            stall(&or_for_long(|| self.count() > before));
            let is_in_it = |stall: &Stall| stall.to_string().contains(function);
            if let Some(seen) = self.of(name).into_iter().rfind(is_in_it) {
                return seen;
            }
        }
        panic!("{:?}", self.of(name));
    }
}

/// Until that, or for so long that it was before we looked: a stall is reported once.
fn or_for_long(until: impl Fn() -> bool) -> impl Fn() -> bool {
    let start = Instant::now();
    move || until() || start.elapsed() > Duration::from_secs(2)
}

fn has_backtrace(stall: &Stall) -> bool {
    stall.backtrace().is_some()
}

fn named(name: &str) -> Builder {
    Builder::new().name(name.into())
}

#[inline(never)]
fn spins_here(until: &dyn Fn() -> bool) {
    while !until() {
        spin_loop();
    }
}

// Functions of one body may become one function: these have something of their own.

#[inline(never)]
fn calls_who_spins(until: &dyn Fn() -> bool) {
    spins_here(until);
    black_box("calls_who_spins");
}

#[test]
fn who_never_stops_computing_is_shown_where_it_computes_while_it_does() {
    for workers in [1, 2] {
        ends(move || {
            let (scheduler, reports) = Reports::watched(workers, || ());
            // On a thread of the library's, if there is one.
            let spins = scheduler.spawn_on(workers - 1, move || {
                let seen = move || reports.until_seen("spins", "calls_who_spins", calls_who_spins);
                named("spins").spawn_local(seen).unwrap().join().unwrap()
            });
            scheduler.run().unwrap();
            let seen = spins.join().unwrap();
            assert_eq!((seen.is_over(), seen.worker()), (false, workers - 1));
            let shown = seen.to_string();
            let (head, calls) = shown.split_once("; it is here:\n").unwrap();
            assert!(head.starts_with("task 'spins' (#") && head.contains(" keeps worker "));
            let spins = calls.find("spins_here").expect(calls);
            let caller = calls.find("calls_who_spins").expect(calls);
            assert!(spins < caller, "{calls}");
            // Not those of the library that run it, which are there all the same.
            assert!(
                !calls.contains("rt::job") && !calls.contains("rt/job.rs"),
                "{calls}"
            );
            let whole = format!("{:#}", seen.backtrace().unwrap());
            assert!(whole.starts_with(calls) && whole.contains("job"), "{whole}");
            assert!(seen.backtrace().unwrap().as_std().is_none());
        });
    }
}

#[inline(never)]
fn blocks_here(told: &mpsc::Receiver<u32>) -> u32 {
    told.recv().unwrap()
}

#[test]
fn who_blocks_its_thread_is_shown_and_then_gets_its_message() {
    ends(|| {
        let (tell, told) = mpsc::channel();
        let tell = Mutex::new(tell);
        let (scheduler, reports) =
            Reports::watched(1, move || tell.lock().unwrap().send(7).unwrap());
        let blocks = named("blocks").spawn_on(&scheduler, move || {
            let mut sum = 0;
            reports.until_seen("blocks", "blocks_here", |_| sum += blocks_here(&told));
            sum
        });
        scheduler.run().unwrap();
        let sum = blocks.unwrap().join().unwrap();
        assert!(sum >= 7 && sum.is_multiple_of(7));
    });
}

#[inline(never)]
fn reads_here(reader: &mut UnixStream) {
    let mut byte = [0];
    // One call, whose error would be told.
    assert_eq!(reader.read(&mut byte).unwrap(), 1);
}

#[test]
fn a_read_that_blocks_the_thread_goes_on_after_it_was_interrupted() {
    ends(|| {
        let (mut reader, writer) = UnixStream::pair().unwrap();
        let writes = move || (&writer).write_all(&[7]).unwrap();
        let (scheduler, reports) = Reports::watched(1, writes);
        let reads = named("reads").spawn_on(&scheduler, move || {
            reports.until_seen("reads", "reads_here", |_| reads_here(&mut reader));
        });
        scheduler.run().unwrap();
        reads.unwrap().join().unwrap();
    });
}

#[inline(never)]
fn recurses(depth: usize, until: &dyn Fn() -> bool) -> usize {
    match depth {
        0 => spins_here(until),
        _ => _ = black_box(recurses(depth - 1, until)),
    }
    depth
}

#[test]
fn of_a_deep_recursion_the_innermost_calls_are_told() {
    ends(|| {
        let (scheduler, reports) = Reports::watched(1, || ());
        let recursive = named("recursive").spawn_on(&scheduler, move || {
            reports.until_seen("recursive", "spins_here", |until| _ = recurses(400, until))
        });
        scheduler.run().unwrap();
        let seen = recursive.unwrap().join().unwrap();
        let calls = seen.backtrace().unwrap().to_string();
        let deep = calls.matches("recurses").count();
        assert!((100..128).contains(&deep), "{deep}: {calls}");
        assert!(calls.contains("spins_here"), "{calls}");
    });
}

#[inline(never)]
fn spins_inside(until: &dyn Fn() -> bool) {
    spins_here(until);
    black_box("spins_inside");
}

#[test]
fn who_runs_another_scheduler_is_shown_where_that_ones_task_computes() {
    ends(|| {
        let (scheduler, reports) = Reports::watched(1, || ());
        let runs = named("runs another").spawn_on(&scheduler, move || {
            let inner = Scheduler::new().unwrap();
            reports.until_seen("runs another", "spins_inside", |until| {
                inner.block_on(|| spins_inside(until))
            });
        });
        scheduler.run().unwrap();
        runs.unwrap().join().unwrap();
    });
}

#[inline(never)]
fn spins_first(until: &dyn Fn() -> bool) {
    spins_here(until);
    black_box("spins_first");
}

#[inline(never)]
fn spins_second(until: &dyn Fn() -> bool) {
    spins_here(until);
    black_box("spins_second");
}

#[test]
fn two_schedulers_that_stall_at_once_are_each_shown_their_own() {
    const ROUNDS: usize = 10;
    ends(|| {
        type Spins = fn(&dyn Fn() -> bool);
        let both: [(&str, Spins, &str); 2] = [
            ("first", spins_first, "spins_second"),
            ("second", spins_second, "spins_first"),
        ];
        let threads = both.map(|(name, spins, other)| {
            thread::spawn(move || {
                for _ in 0..ROUNDS {
                    let (scheduler, reports) = Reports::watched(1, || ());
                    let seen = reports.clone();
                    let task = named(name).spawn_on(&scheduler, move || {
                        seen.until_seen(name, &format!("spins_{name}"), spins);
                    });
                    scheduler.run().unwrap();
                    task.unwrap().join().unwrap();
                    for stall in reports.of(name).into_iter().filter(has_backtrace) {
                        let calls = stall.to_string();
                        assert!(!calls.contains(other), "{calls}");
                    }
                }
            })
        });
        let _ends = threads.map(|thread| thread.join().unwrap());
    });
}

/// Stalls again and again in the same function, and looks at what was told of each stall.
fn sampled_often(name: &'static str, function: &str, each: fn()) {
    const ROUNDS: usize = 60;
    let (scheduler, reports) = Reports::watched(1, || ());
    let told = reports.clone();
    let task = named(name).spawn_on(&scheduler, move || {
        for round in 0..ROUNDS {
            while told.count() <= round {
                each();
            }
            yield_now();
        }
    });
    scheduler.run().unwrap();
    task.unwrap().join().unwrap();
    let seen: Vec<_> = reports.of(name).into_iter().filter(has_backtrace).collect();
    let right = seen
        .iter()
        .filter(|stall| stall.to_string().contains(function));
    // Each begins with where it is; what comes below may be in the middle of code without tables.
    assert!(right.count() * 2 > seen.len(), "{seen:?}");
    assert!(seen.len() * 2 > ROUNDS, "{} of {ROUNDS}", seen.len());
}

#[inline(never)]
fn allocates_here() {
    for size in 1..64 {
        let strings: Vec<_> = (0..size).map(|_| "x".repeat(black_box(size * 8))).collect();
        drop(black_box(strings));
    }
}

#[test]
fn who_is_in_the_middle_of_malloc_is_asked_again_and_again_and_goes_on() {
    ends(|| sampled_often("allocates", "allocates_here", allocates_here));
}

#[inline(never)]
fn unwinds_here() {
    struct InTheWay(usize);
    impl Drop for InTheWay {
        fn drop(&mut self) {
            black_box(self.0);
        }
    }
    fn unwind(depth: usize) {
        let _in_the_way = InTheWay(depth);
        match depth {
            0 => resume_unwind(Box::new(())),
            _ => unwind(black_box(depth - 1)),
        }
    }
    let unwound = catch_unwind(AssertUnwindSafe(|| unwind(8)));
    assert!(unwound.is_err());
}

#[test]
fn who_is_in_the_middle_of_unwinding_is_asked_again_and_again_and_goes_on() {
    ends(|| sampled_often("unwinds", "unwinds_here", unwinds_here));
}

#[inline(never)]
fn never_returns(until: &dyn Fn() -> bool, local: &[u8]) -> ! {
    spins_here(until);
    resume_unwind(Box::new(local.len()))
}

/// The call is the last that there is of it: where it would return to is another function's.
#[inline(never)]
fn ends_in_a_call(until: &dyn Fn() -> bool) -> ! {
    let local = black_box([0; 8]);
    never_returns(until, &local)
}

#[test]
fn a_call_that_never_returns_is_told_of_the_function_that_makes_it() {
    ends(|| {
        let (scheduler, reports) = Reports::watched(1, || ());
        let unwinds = named("unwinds").spawn_on(&scheduler, move || {
            reports.until_seen("unwinds", "ends_in_a_call", |until| {
                let unwound = catch_unwind(AssertUnwindSafe(|| ends_in_a_call(until)));
                assert!(unwound.is_err());
            })
        });
        scheduler.run().unwrap();
        let seen = unwinds.unwrap().join().unwrap().to_string();
        for function in [
            "spins_here",
            "never_returns",
            "ends_in_a_call",
            "until_seen",
        ] {
            assert!(seen.contains(function), "{function}: {seen}");
        }
    });
}

// ---- signals that come at another time ----

fn urgent() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the first call writes the set, and the second adds a valid signal.
    unsafe {
        assert_eq!(libc::sigemptyset(set.as_mut_ptr()), 0);
        assert_eq!(libc::sigaddset(set.as_mut_ptr(), libc::SIGURG), 0);
        set.assume_init()
    }
}

/// Blocks the signal on this thread, or lets it come.
fn block(how: libc::c_int) {
    // SAFETY: a valid set; no old mask is asked for.
    let done = unsafe { libc::pthread_sigmask(how, &urgent(), ptr::null_mut()) };
    assert_eq!(done, 0);
}

fn is_pending() -> bool {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the first call writes the set, and the second looks at it.
    unsafe {
        assert_eq!(libc::sigpending(set.as_mut_ptr()), 0);
        libc::sigismember(set.as_ptr(), libc::SIGURG) == 1
    }
}

/// Takes one that is pending.
fn take() {
    let at_once = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a valid set, and a time; nothing else is asked for.
    let _none = unsafe { libc::sigtimedwait(&urgent(), ptr::null_mut(), &at_once) };
}

#[inline(never)]
fn is_not_meant(until: &dyn Fn() -> bool) {
    block(libc::SIG_UNBLOCK);
    spins_here(until);
}

#[test]
fn of_a_task_that_has_ended_before_the_signal_came_no_other_ones_calls_are_told() {
    const ROUNDS: usize = 20;
    ends(|| {
        for _ in 0..ROUNDS {
            let (scheduler, reports) = Reports::watched(1, || ());
            let told = reports.clone();
            let meant = named("meant").spawn_on(&scheduler, move || {
                block(libc::SIG_BLOCK);
                loop {
                    yield_now();
                    let (told, before) = (told.clone(), told.of("meant").len());
                    let is_told = or_for_long(move || told.of("meant").len() > before);
                    spins_here(&|| is_pending() || is_told());
                    // If not, who asks still waits, for a while.
                    if !is_told() {
                        let other = named("other").spawn(move || is_not_meant(&is_told));
                        return other.unwrap();
                    }
                    take();
                }
            });
            scheduler.run().unwrap();
            meant.unwrap().join().unwrap().join().unwrap();
            for stall in reports.of("meant") {
                assert!(!stall.to_string().contains("is_not_meant"), "{stall}");
            }
        }
    });
}

#[test]
fn a_signal_that_comes_when_nobody_waits_for_it_any_more_harms_nobody() {
    ends(|| {
        let (scheduler, reports) = Reports::watched(1, || ());
        let late = named("late").spawn_on(&scheduler, move || {
            block(libc::SIG_BLOCK);
            while !is_pending() {
                yield_now();
                let before = reports.count();
                spins_here(&or_for_long(|| reports.count() > before));
            }
            assert!(!has_backtrace(reports.of("late").last().unwrap()));
            block(libc::SIG_UNBLOCK);
            assert!(!is_pending());
            yield_now();
            // And the next one is answered.
            reports.until_seen("late", "spins_here", spins_here);
        });
        scheduler.run().unwrap();
        late.unwrap().join().unwrap();
    });
}

// ---- who else handles the signal ----

const CHILD: &str = "STALL_BACKTRACE_CHILD";

/// How often the handler ran that was there before.
static HANDLED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn plain(_: libc::c_int) {
    HANDLED.fetch_add(1, SeqCst);
    set_errno(libc::EDOM);
}

fn set_errno(errno: libc::c_int) {
    // SAFETY: this thread's.
    unsafe { *libc::__errno_location() = errno };
}

extern "C" fn informed(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel's.
    if unsafe { (*info).si_signo } == signal {
        HANDLED.fetch_add(1, SeqCst);
    }
}

fn install(handler: usize, flags: libc::c_int) {
    // SAFETY: all zeroes is an action: no flags, nothing blocked.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    // SAFETY: the handlers add to one atomic.
    let done = unsafe { libc::sigaction(libc::SIGURG, &action, ptr::null_mut()) };
    assert_eq!(done, 0);
}

/// The signals that we send are not passed on, and those of others are; what a handler does to `errno` is not seen.
fn strangers_signals_alone_are_passed_on(handled: bool) {
    let (scheduler, reports) = Reports::watched(1, || ());
    let task = named("spins").spawn_on(&scheduler, move || {
        reports.until_seen("spins", "spins_here", spins_here);
        assert_eq!(HANDLED.load(SeqCst), 0);
        set_errno(libc::ERANGE);
        // SAFETY: the signal goes to the calling thread, and its handlers are ours.
        assert_eq!(unsafe { libc::raise(libc::SIGURG) }, 0);
        assert_eq!(
            io::Error::last_os_error().raw_os_error(),
            Some(libc::ERANGE)
        );
        assert_eq!(HANDLED.load(SeqCst), usize::from(handled));
    });
    scheduler.run().unwrap();
    task.unwrap().join().unwrap();
}

/// In a process that was made for a case of this test: which. Makes one for each otherwise.
fn case(test: &str, cases: &[&str]) -> Option<String> {
    if let Ok(case) = env::var(CHILD) {
        return Some(case);
    }
    for case in cases {
        let child = Command::new(env::current_exe().unwrap())
            .args([test, "--exact"])
            .env(CHILD, case)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success(), "{case}: {said}");
        assert!(said.contains("1 passed"), "{case}: {said}");
    }
    None
}

#[test]
fn a_handler_that_was_there_before_gets_the_signals_of_others_and_no_other_ones() {
    let test = "a_handler_that_was_there_before_gets_the_signals_of_others_and_no_other_ones";
    let Some(before) = case(test, &["plain", "informed", "ignore", "default"]) else {
        return;
    };
    let plain = plain as *const () as usize;
    let informed = informed as *const () as usize;
    match &*before {
        "plain" => install(plain, libc::SA_ONSTACK),
        "informed" => install(informed, libc::SA_ONSTACK | libc::SA_SIGINFO),
        "ignore" => install(libc::SIG_IGN, 0),
        _ => {}
    }
    let handled = matches!(&*before, "plain" | "informed");
    ends(move || strangers_signals_alone_are_passed_on(handled));
}

#[test]
fn who_listens_for_the_signal_hears_ours_and_keeps_nobody_from_being_seen() {
    let test = "who_listens_for_the_signal_hears_ours_and_keeps_nobody_from_being_seen";
    if case(test, &["listens"]).is_none() {
        return;
    }
    ends(|| {
        let (scheduler, reports) = Reports::watched(1, || ());
        let task = named("spins").spawn_on(&scheduler, move || {
            let urgent = Signal::from_raw(libc::SIGURG);
            let mut signals = Signals::new([urgent]).unwrap();
            reports.until_seen("spins", "spins_here", spins_here);
            assert_eq!(signals.wait().unwrap(), urgent);
        });
        scheduler.run().unwrap();
        task.unwrap().join().unwrap();
    });
}
