//! What the Python original got wrong, each shown to be right here. Its names are those of the defects.

mod common;

use common::sockets::{in_tasks, until};
use common::{ends, scheduler, settle, OnDrop, LONG};
use multitask::io::{wait_readable, Fd};
use multitask::net::{TcpListener, TcpStream};
use multitask::os::unix::net::UnixStream;
use multitask::sync::{Queue, TryPutError};
use multitask::{sleep, spawn, task, yield_now, JoinHandle, Scheduler};
use std::cell::Cell;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

const SHORT: Duration = Duration::from_millis(5);

/// A task that gets something from a queue, which it has in common with others.
fn gets<T: 'static>(
    scheduler: &Scheduler,
    queue: &Rc<Queue<T>>,
    get: impl FnOnce(&Queue<T>) -> T + 'static,
) -> JoinHandle<T> {
    let queue = queue.clone();
    scheduler.spawn_local(move || get(&queue))
}

// ---- queues ----

#[test]
fn a_task_cancelled_in_get_leaves_the_item_to_the_next_getter() {
    ends(|| {
        let scheduler = Scheduler::new().unwrap();
        // It has unwound when the item comes, or is about to.
        for unwound in [true, false] {
            let queue = Rc::new(Queue::unbounded());
            let [first, second] =
                [(); 2].map(|()| gets(&scheduler, &queue, |queue| queue.get().unwrap()));
            settle(&scheduler);
            scheduler.block_on(|| {
                first.cancel();
                if unwound {
                    yield_now();
                }
                queue.put('a').unwrap();
            });
            scheduler.run().unwrap();
            assert!(first.join().unwrap_err().is_cancelled());
            assert_eq!(second.join().unwrap(), 'a');
        }
    });
}

#[test]
fn a_get_with_a_timeout_on_a_non_empty_queue_returns_at_once() {
    let queue = Queue::from_iter(0..6);
    let start = Instant::now();
    assert_eq!(queue.get_timeout(LONG), Ok(0));
    assert_eq!(queue.get_timeout(Duration::MAX), Ok(1));
    assert_eq!(queue.get_timeout(Duration::ZERO), Ok(2));
    assert_eq!(queue.get_deadline(start), Ok(3));
    assert_eq!(queue.get_matching_timeout(|n| *n == 5, LONG), Ok(5));
    assert_eq!(queue.get_matching_deadline(|_| true, start), Ok(4));
    assert!(start.elapsed() < LONG / 10);
}

#[test]
fn a_none_that_matches_is_delivered() {
    ends(|| {
        let scheduler = scheduler();
        let queue = Rc::new(Queue::from_iter([Some(1), None, Some(2)]));
        assert_eq!(queue.get_matching(Option::is_none), Ok(None));
        let waits = gets(&scheduler, &queue, |queue| {
            queue.get_matching(Option::is_none).unwrap()
        });
        settle(&scheduler);
        assert!(!waits.is_finished());
        queue.put(None).unwrap();
        scheduler.run().unwrap();
        assert_eq!(waits.join().unwrap(), None);
        assert_eq!(queue.len(), 2);
    });
}

#[test]
fn a_full_queue_hands_a_matching_put_straight_to_a_matching_getter() {
    ends(|| {
        let scheduler = scheduler();
        for capacity in [0, 2] {
            let queue = Rc::new(Queue::bounded(capacity));
            (0..capacity).for_each(|_| queue.put(1).unwrap());
            // The getters come first.
            let getters = [(); 2].map(|()| {
                gets(&scheduler, &queue, |queue| {
                    queue.get_matching(|n| *n > 5).unwrap()
                })
            });
            settle(&scheduler);
            assert_eq!(queue.try_put(2), Err(TryPutError::Full(2)));
            assert_eq!(queue.try_put(6), Ok(()));
            assert_eq!(queue.put(7), Ok(()));
            scheduler.run().unwrap();
            assert_eq!(getters.map(|getter| getter.join().unwrap()), [6, 7]);
            // The putter comes first, behind one whose item nobody wants.
            let putters = [3, 8].map(|n| {
                let queue = queue.clone();
                scheduler.spawn_local(move || queue.put(n).unwrap())
            });
            settle(&scheduler);
            assert_eq!(queue.get_matching(|n| *n > 5), Ok(8));
            settle(&scheduler);
            let put = putters.each_ref().map(JoinHandle::is_finished);
            assert_eq!((put, queue.len()), ([false, true], capacity));
            assert_eq!(queue.try_iter().last(), Some(3));
            scheduler.run().unwrap();
        }
    });
}

// ---- descriptors ----

/// Safe code cannot close a descriptor that a task waits for: who waits borrows it. What it can do is to end the connection
/// through a clone, as here; and the peer can.
#[test]
fn closing_a_socket_under_a_waiter_gives_that_waiter_an_error_and_nobody_else() {
    in_tasks(|| {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let [mut reader, mut writer, closer] = [(); 3].map(|()| ours.try_clone().unwrap());
        let (other, mut others_peer) = UnixStream::pair().unwrap();
        let waiting = Rc::new(Cell::new(0));
        let begun = waiting.clone();
        let begins = move || begun.set(begun.get() + 1);

        let begun = begins.clone();
        let reads = multitask::spawn_local(move || {
            begun();
            reader.read_exact(&mut [0]).map_err(|error| error.kind())
        });
        let begun = begins.clone();
        let writes = multitask::spawn_local(move || {
            begun();
            // More than the system takes.
            writer
                .write_all(&[0; 4 << 20])
                .map_err(|error| error.kind())
        });
        let elsewhere = multitask::spawn_local(move || {
            begins();
            (&other).read_exact(&mut [0]).map_err(|error| error.kind())
        });
        until(|| waiting.get() == 3);
        closer.shutdown(Shutdown::Both).unwrap();
        assert_eq!(reads.join().unwrap(), Err(ErrorKind::UnexpectedEof));
        assert_eq!(writes.join().unwrap(), Err(ErrorKind::BrokenPipe));
        assert!(!elsewhere.is_finished());
        others_peer.write_all(b"x").unwrap();
        assert_eq!(elsewhere.join().unwrap(), Ok(()));
    });
}

#[test]
fn a_4_mb_send_stalls_no_one() {
    const SIZE: usize = 4 << 20;
    in_tasks(|| {
        let (mut reader, mut writer) = connected();
        let ticks = Rc::new(Cell::new(0));
        let ticking = ticks.clone();
        let ticker = multitask::spawn_local(move || loop {
            ticking.set(ticking.get() + 1);
            sleep(Duration::from_millis(1));
        });
        let send = spawn(move || {
            let data: Vec<u8> = (0..SIZE).map(|n| n as u8).collect();
            writer.write_all(&data).unwrap();
        });
        // The reader stirs only when others have run: were the thread held by the send, that would be never.
        let mut data = vec![0; SIZE];
        for piece in data.chunks_mut(SIZE / 4) {
            let before = ticks.get();
            until(|| ticks.get() >= before + 3);
            reader.read_exact(piece).unwrap();
        }
        send.join().unwrap();
        ticker.cancel();
        assert!(data.iter().enumerate().all(|(n, byte)| *byte == n as u8));
    });
}

#[test]
fn descriptors_of_1024_and_more_work() {
    rlimit::increase_nofile_limit(4096).unwrap();
    let hoard: Vec<_> = (0..1100)
        .map(|_| File::open("/dev/null").unwrap())
        .collect();
    in_tasks(|| {
        // Those of the scheduler itself are as high. Other tests give some of the lower ones back meanwhile.
        let mut low = Vec::new();
        let ((mut stream, mut peer), (bare, mut bare_peer)) = loop {
            let (ours, bare) = (connected(), std::os::unix::net::UnixStream::pair().unwrap());
            if ours.0.as_raw_fd() >= 1024 && bare.0.as_raw_fd() >= 1024 {
                break (ours, bare);
            }
            low.push((ours, bare));
        };
        let reads = spawn(move || stream.read_exact(&mut [0; 4]));
        let waits = spawn(move || {
            wait_readable(bare.as_fd(), None)?;
            Fd::new(bare).read_exact(&mut [0; 4])
        });
        yield_now();
        peer.write_all(b"high").unwrap();
        bare_peer.write_all(b"high").unwrap();
        reads.join().unwrap().unwrap();
        waits.join().unwrap().unwrap();
    });
    drop(hoard);
}

fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

// ---- the loop ----

#[test]
fn a_spinning_task_starves_neither_sockets_nor_timers() {
    ends(|| {
        let scheduler = scheduler();
        let going = Rc::new(Cell::new(2));
        for _ in 0..3 {
            let going = going.clone();
            scheduler.spawn_local(move || {
                while going.get() > 0 {
                    yield_now();
                }
            });
        }
        let (mut near, mut far) = UnixStream::pair().unwrap();
        let echo = scheduler
            .spawn(move || std::io::copy(&mut &far.try_clone().unwrap(), &mut far).unwrap());
        let ends = going.clone();
        scheduler.spawn_local(move || {
            for _ in 0..20 {
                near.write_all(b"hello").unwrap();
                near.read_exact(&mut [0; 5]).unwrap();
            }
            ends.set(ends.get() - 1);
        });
        let ends = going.clone();
        scheduler.spawn_local(move || {
            (0..20).for_each(|_| sleep(Duration::from_micros(50)));
            ends.set(ends.get() - 1);
        });
        scheduler.run().unwrap();
        assert_eq!(echo.join().unwrap(), 100);
    });
}

#[test]
fn a_zero_length_turn_sees_ready_io() {
    let scheduler = Scheduler::new().unwrap();
    let (mut near, mut far) = UnixStream::pair().unwrap();
    let reader = scheduler.spawn(move || near.read(&mut [0; 8]).unwrap());
    settle(&scheduler);
    assert_eq!(scheduler.stats().io, 1);
    assert_eq!(scheduler.turn(Some(Duration::ZERO)).unwrap(), 0);
    far.write_all(b"hello").unwrap();
    assert_eq!(scheduler.turn(Some(Duration::ZERO)).unwrap(), 1);
    assert_eq!(reader.join().unwrap(), 5);
}

#[test]
fn a_cancelled_parent_inside_scope_cancels_its_children() {
    ends(|| {
        let scheduler = scheduler();
        let ended = Rc::new(Cell::new(0));
        let count = ended.clone();
        let parent = scheduler.spawn_local(move || {
            task::scope(|s| {
                for _ in 0..2 {
                    s.spawn_local(|| {
                        let _end = OnDrop(|| count.set(count.get() + 1));
                        loop {
                            task::park();
                        }
                    });
                }
            });
        });
        settle(&scheduler);
        parent.cancel();
        scheduler.run().unwrap();
        assert!(parent.join().unwrap_err().is_cancelled());
        assert_eq!(ended.get(), 2);
    });
}

#[test]
fn one_task_s_panic_ends_that_task_only() {
    let scheduler = scheduler();
    let before = scheduler.spawn(|| {
        sleep(SHORT); // the news of the panic has gone round
        1
    });
    let panics = scheduler.spawn(|| panic!("on purpose"));
    let after = scheduler.spawn(|| 2);
    scheduler.run().unwrap();
    assert_eq!(before.join().unwrap() + after.join().unwrap(), 3);
    assert!(panics.join().is_err());
}

// ---- time ----

/// For how long this thread has had a processor.
fn time_at_work() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a place for the time.
    let told = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(told, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A claim of the clock, as its name says: of the time that the thread has the processor, for others may have it meanwhile, and of the
/// fastest of some rounds. Beside the thousands that stay armed, a cancel that looks for its timer takes several times as long. Without
/// optimisation it is a tenth of a million.
#[test]
fn a_million_cancelled_timers_take_under_a_second() {
    const STAY: usize = 4_000;
    const CANCELLED: usize = if cfg!(debug_assertions) {
        100_000
    } else {
        1_000_000
    };
    let scheduler = Scheduler::builder().stack_size(16 << 10).build().unwrap();
    for n in 0..STAY {
        scheduler.spawn(move || sleep(LONG + Duration::from_secs(n as u64)));
    }
    settle(&scheduler);
    let round = || {
        let start = time_at_work();
        scheduler.block_on(|| {
            let waiter = spawn(|| (0..CANCELLED).for_each(|_| task::park_timeout(LONG)));
            while !waiter.is_finished() {
                waiter.task().unpark();
                yield_now();
            }
        });
        time_at_work() - start
    };
    let fast = (0..5).any(|_| round() < Duration::from_secs(1));
    assert!(fast);
    assert_eq!(scheduler.stats().timers, STAY, "and they are gone");
}

#[test]
#[cfg(target_os = "linux")]
fn a_deadline_starts_when_the_call_starts_and_follows_the_monotonic_clock() {
    const HOUR: i64 = 3600;
    for jump in [0, HOUR, -HOUR] {
        in_tasks(move || {
            let (reader, _writer) = UnixStream::pair().unwrap();
            reader.set_read_timeout(Some(2 * SHORT)).unwrap();
            // Longer than the limit: not a moment of it is used up.
            sleep(3 * SHORT);
            let reset = spawn(move || {
                let before = SystemTime::now();
                wall_clock::put_forward(jump);
                let difference = SystemTime::now().duration_since(before);
                assert_eq!(difference.is_err(), jump < 0, "it was set");
            });
            let start = Instant::now();
            let error = (&reader).read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert!(start.elapsed() >= 2 * SHORT, "{jump}");
            reset.join().unwrap();
        });
    }
    wall_clock::put_forward(0);
}

/// The clock on the wall, which somebody sets while the program runs: this function of the C library is ours in this program.
#[cfg(target_os = "linux")]
mod wall_clock {
    use libc::{c_int, clockid_t, timespec};
    use std::sync::atomic::{AtomicI64, AtomicPtr, Ordering::SeqCst};

    static FORWARD: AtomicI64 = AtomicI64::new(0);

    pub fn put_forward(seconds: i64) {
        FORWARD.store(seconds, SeqCst);
    }

    type ClockGettime = unsafe extern "C" fn(clockid_t, *mut timespec) -> c_int;

    /// # Safety
    /// As that of the C library.
    #[no_mangle]
    unsafe extern "C" fn clock_gettime(clock: clockid_t, time: *mut timespec) -> c_int {
        // SAFETY: the caller keeps to the same contract.
        let answer = unsafe { the_real_one()(clock, time) };
        if clock == libc::CLOCK_REALTIME && answer == 0 {
            // SAFETY: it was just filled in.
            unsafe { (*time).tv_sec += FORWARD.load(SeqCst) as libc::time_t };
        }
        answer
    }

    fn the_real_one() -> ClockGettime {
        static FOUND: AtomicPtr<libc::c_void> = AtomicPtr::new(std::ptr::null_mut());
        let mut found = FOUND.load(SeqCst);
        if found.is_null() {
            // SAFETY: the name is a C string.
            found = unsafe { libc::dlsym(libc::RTLD_NEXT, c"clock_gettime".as_ptr()) };
            assert!(!found.is_null());
            FOUND.store(found, SeqCst);
        }
        // SAFETY: that is its type.
        unsafe { std::mem::transmute::<*mut libc::c_void, ClockGettime>(found) }
    }
}
