//! Where a task goes on that does not let others run: its thread is asked by a signal, whatever it is in the middle of.
#![cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(multitask_portable)
))]

mod common;

use common::ends;
use multitask::dump::Stall;
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
use std::time::Duration;

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

    /// Has a task keep its worker again and again until a report says where it is. One report may not: a thread that gets no processor does not
    /// answer in time. `stall` goes on until what it is given says that there is one more.
    fn until_seen(&self, name: &str, mut stall: impl FnMut(&dyn Fn() -> bool)) -> Stall {
        loop {
            if let Some(seen) = self.of(name).into_iter().find(has_backtrace) {
                return seen;
            }
            let before = self.count();
            stall(&|| self.count() > before);
            yield_now();
        }
    }
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
            scheduler.spawn_on(workers - 1, {
                let reports = reports.clone();
                move || {
                    let seen = move || _ = reports.until_seen("spins", calls_who_spins);
                    let spins = named("spins").spawn_local(seen).unwrap();
                    spins.join().unwrap();
                }
            });
            scheduler.run().unwrap();
            let seen = reports.of("spins").into_iter().find(has_backtrace).unwrap();
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
        let seen = reports.clone();
        let blocks = named("blocks").spawn_on(&scheduler, move || {
            let mut sum = 0;
            seen.until_seen("blocks", |_| sum += blocks_here(&told));
            (sum, seen.of("blocks").len())
        });
        scheduler.run().unwrap();
        let (sum, messages) = blocks.unwrap().join().unwrap();
        assert_eq!(sum as usize, 7 * messages);
        let seen = reports
            .of("blocks")
            .into_iter()
            .find(has_backtrace)
            .unwrap();
        assert!(seen.to_string().contains("blocks_here"), "{seen}");
    });
}

#[test]
fn a_read_that_blocks_the_thread_goes_on_after_it_was_interrupted() {
    ends(|| {
        let (mut reader, writer) = UnixStream::pair().unwrap();
        let writes = move || (&writer).write_all(&[7]).unwrap();
        let (scheduler, reports) = Reports::watched(1, writes);
        let seen = reports.clone();
        let reads = named("reads").spawn_on(&scheduler, move || {
            seen.until_seen("reads", |_| {
                let mut byte = [0];
                // One call, whose error would be told.
                assert_eq!(reader.read(&mut byte).unwrap(), 1);
            })
        });
        scheduler.run().unwrap();
        let seen = reads.unwrap().join().unwrap().to_string();
        assert!(seen.contains("a_read_that_blocks_the_thread"), "{seen}");
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
            reports.until_seen("recursive", |until| _ = recurses(400, until))
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
            reports.until_seen("runs another", |until| {
                inner.block_on(|| spins_inside(until))
            })
        });
        scheduler.run().unwrap();
        let seen = runs.unwrap().join().unwrap().to_string();
        assert!(seen.contains("spins_inside"), "{seen}");
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
                        seen.until_seen(name, spins);
                    });
                    scheduler.run().unwrap();
                    task.unwrap().join().unwrap();
                    for stall in reports.of(name).into_iter().filter(has_backtrace) {
                        let calls = stall.to_string();
                        let own = format!("spins_{name}");
                        assert!(calls.contains(&own) && !calls.contains(other), "{calls}");
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
            reports.until_seen("unwinds", |until| {
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
            let meant = named("meant").spawn_on(&scheduler, || {
                block(libc::SIG_BLOCK);
                spins_here(&is_pending);
            });
            let told = reports.clone();
            let other = named("other").spawn_on(&scheduler, move || {
                is_not_meant(&|| !told.of("meant").is_empty());
            });
            scheduler.run().unwrap();
            meant.unwrap().join().unwrap();
            other.unwrap().join().unwrap();
            let told = reports.of("meant");
            assert_eq!(told.len(), 1);
            assert!(!has_backtrace(&told[0]), "{}", told[0]);
            for stall in reports
                .of("other")
                .iter()
                .filter(|stall| has_backtrace(stall))
            {
                assert!(stall.to_string().contains("is_not_meant"), "{stall}");
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
            spins_here(&|| reports.count() > 0);
            assert!(is_pending() && !has_backtrace(&reports.of("late")[0]));
            block(libc::SIG_UNBLOCK);
            assert!(!is_pending());
            yield_now();
            // And the next one is answered.
            reports.until_seen("late", spins_here)
        });
        scheduler.run().unwrap();
        let seen = late.unwrap().join().unwrap().to_string();
        assert!(seen.contains("spins_here"), "{seen}");
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
        reports.until_seen("spins", spins_here);
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

#[test]
fn a_handler_that_was_there_before_gets_the_signals_of_others_and_no_other_ones() {
    let name = "a_handler_that_was_there_before_gets_the_signals_of_others_and_no_other_ones";
    let Ok(before) = env::var(CHILD) else {
        for before in ["plain", "informed", "ignore", "default"] {
            let child = Command::new(env::current_exe().unwrap())
                .args([name, "--exact"])
                .env(CHILD, before)
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&child.stdout);
            assert!(child.status.success(), "{before}: {said}");
            assert!(said.contains("1 passed"), "{before}: {said}");
        }
        return;
    };
    match &*before {
        "plain" => install(plain as *const () as usize, libc::SA_ONSTACK),
        "informed" => install(
            informed as *const () as usize,
            libc::SA_ONSTACK | libc::SA_SIGINFO,
        ),
        "ignore" => install(libc::SIG_IGN, 0),
        _ => {}
    }
    let handled = matches!(&*before, "plain" | "informed");
    ends(move || strangers_signals_alone_are_passed_on(handled));
}
