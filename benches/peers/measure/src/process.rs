//! What the system says of a process, and does for it.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::LazyLock;
use std::time::Duration;
use std::{fs, io, mem, ptr};

/// Of this process, in bytes.
#[derive(Clone, Copy)]
pub struct Memory {
    resident: u64,
    page_tables: u64,
    /// The most that has been resident.
    pub peak: u64,
    pub mappings: usize,
}

impl Memory {
    pub fn now() -> Memory {
        let status = fs::read_to_string("/proc/self/status").expect("Linux");
        let bytes = |key| kibibytes(&status, key).expect("Linux says it") << 10;
        Memory {
            resident: bytes("VmRSS:"),
            page_tables: bytes("VmPTE:"),
            peak: bytes("VmHWM:"),
            mappings: fs::read_to_string("/proc/self/maps").map_or(0, |maps| maps.lines().count()),
        }
    }

    pub fn resident_and_tables(self) -> u64 {
        self.resident + self.page_tables
    }
}

/// The number behind `key`, as in `VmRSS:   1234 kB`.
fn kibibytes(text: &str, key: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(key))?;
    value.split_whitespace().next()?.parse().ok()
}

/// What this process has used of the processors so far.
pub fn cpu_time() -> Duration {
    // SAFETY: plain numbers, for which zeros will do.
    let mut usage: libc::rusage = unsafe { mem::zeroed() };
    // SAFETY: `usage` is there to be written.
    let result = unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) };
    assert_eq!(result, 0, "it cannot fail for oneself");
    let duration =
        |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1_000);
    duration(usage.ru_utime) + duration(usage.ru_stime)
}

/// What another process, of which threads may have ended, has used of the processors so far; in steps of 10 ms.
pub fn cpu_time_of(pid: u32) -> io::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in parentheses, may hold anything; `utime` and `stime` are 11 and 12 fields behind it.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
    // SAFETY: it only asks.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}

/// The processors this process may run on.
pub fn processors() -> Vec<usize> {
    let set = affinity().expect("it cannot fail for oneself");
    // SAFETY: the set holds so many.
    let has = |cpu: &usize| unsafe { libc::CPU_ISSET(*cpu, &set) };
    (0..libc::CPU_SETSIZE as usize).filter(has).collect()
}

fn affinity() -> io::Result<libc::cpu_set_t> {
    // SAFETY: a set of bits, which may be zeros.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: `set` is there to be written, and of that size.
    match unsafe { libc::sched_getaffinity(0, mem::size_of_val(&set), &mut set) } {
        0 => Ok(set),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Keeps the calling thread, and those that it will start, on one processor. Makes one system call, and allocates nothing.
pub fn pin(cpu: usize) -> io::Result<()> {
    // SAFETY: a set of bits, which may be zeros.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: `processors` has named it, so the set holds so many.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: it reads a set of that size.
    match unsafe { libc::sched_setaffinity(0, mem::size_of_val(&set), &set) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Keeps the calling thread on a processor, and the next that calls this on the next one.
pub fn pin_to_next() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    static PROCESSORS: LazyLock<Vec<usize>> = LazyLock::new(processors);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    pin(PROCESSORS[call % PROCESSORS.len()]).expect("the process may run there");
}

/// Ends the process as it is: what was measured has been said, and taking a million tasks down is no part of it.
pub fn leave() -> ! {
    // SAFETY: nothing of it is used any more.
    unsafe { libc::_exit(0) }
}

/// A bare timer of the system, to whose precision nothing is added.
pub struct TimerFd(OwnedFd);

impl TimerFd {
    pub fn new() -> io::Result<TimerFd> {
        // SAFETY: it only makes a descriptor.
        match unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC) } {
            -1 => Err(io::Error::last_os_error()),
            // SAFETY: it is fresh, and nobody else's.
            fd => Ok(TimerFd(unsafe { OwnedFd::from_raw_fd(fd) })),
        }
    }

    /// Blocks for so long.
    pub fn wait(&self, duration: Duration) {
        let once = libc::itimerspec {
            it_interval: libc::timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: libc::timespec {
                tv_sec: duration.as_secs() as i64,
                tv_nsec: i64::from(duration.subsec_nanos()).max(1),
            },
        };
        // SAFETY: the descriptor is ours, and `once` is there to be read.
        let set = unsafe { libc::timerfd_settime(self.0.as_raw_fd(), 0, &once, ptr::null_mut()) };
        assert_eq!(set, 0, "a time that there is");
        let mut times = 0u64;
        // SAFETY: eight bytes are there to be written.
        let read = unsafe { libc::read(self.0.as_raw_fd(), (&raw mut times).cast(), 8) };
        assert_eq!(read, 8, "it goes off");
    }
}

/// Raises the limit of open files as far as it goes, for this process and its children.
pub fn allow_files() {
    // SAFETY: plain numbers, for which zeros will do.
    let mut limit: libc::rlimit = unsafe { mem::zeroed() };
    // SAFETY: `limit` is there to be written.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } == 0 {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: `limit` is there to be read. Where it fails, a bench that needs more will say so.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
    }
}
