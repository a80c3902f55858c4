//! What the system knows about the threads of this process, and makes them do.

#[cfg(any(target_os = "linux", target_os = "android"))]
use libc::{MEMBARRIER_CMD_PRIVATE_EXPEDITED, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED};
use std::io;

#[cfg(not(any(target_os = "linux", target_os = "android")))]
const MEMBARRIER_CMD_PRIVATE_EXPEDITED: i32 = 8;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED: i32 = 16;

/// Prepares [`barrier`], once for the process: at once where it has one thread, else it takes some 10 ms.
///
/// # Errors
/// There is no such barrier here.
pub(crate) fn prepare_barrier() -> io::Result<()> {
    membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED)
}

/// Makes every thread of this process execute a full memory fence before it returns.
///
/// # Errors
/// It was not prepared.
pub(crate) fn barrier() -> io::Result<()> {
    membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn membarrier(command: libc::c_int) -> io::Result<()> {
    // SAFETY: it touches no memory of ours.
    match unsafe { libc::syscall(libc::SYS_membarrier, command, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn membarrier(_command: libc::c_int) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// How many threads this process has now; `None` where the system does not say.
///
/// A directory's link count is its subdirectories plus two, and `/proc/self/task` has one subdirectory for each
/// thread: one `stat` instead of reading a directory.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn thread_count() -> Option<usize> {
    use std::os::unix::fs::MetadataExt;

    let links = std::fs::metadata("/proc/self/task").ok()?.nlink();
    usize::try_from(links)
        .ok()?
        .checked_sub(2)
        .filter(|&count| count > 0)
}

/// How many threads this process has now; `None` where the system does not say.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn thread_count() -> Option<usize> {
    None
}

/// The processors that the process might use when it first asked, before any of its threads was pinned.
///
/// # Errors
/// `Unsupported` where the system has no such thing.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn processors() -> io::Result<Vec<usize>> {
    let set = match ALL.get() {
        Some(set) => set,
        None => {
            let mut set = empty_set();
            // SAFETY: it writes a set of the size that it is told.
            check(unsafe { libc::sched_getaffinity(0, size_of_val(&set), &mut set) })?;
            ALL.get_or_init(|| set)
        }
    };
    let most = libc::CPU_SETSIZE as usize;
    // SAFETY: the numbers are within the set.
    Ok((0..most)
        .filter(|&at| unsafe { libc::CPU_ISSET(at, set) })
        .collect())
}

#[cfg(any(target_os = "linux", target_os = "android"))]
static ALL: std::sync::OnceLock<libc::cpu_set_t> = std::sync::OnceLock::new();

/// Keeps the calling thread on one processor.
///
/// # Errors
/// It may not run there.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn pin(processor: usize) -> io::Result<()> {
    let mut set = empty_set();
    // SAFETY: the macro of C checks the number.
    unsafe { libc::CPU_SET(processor, &mut set) };
    put_on(&set)
}

/// Lets the calling thread run wherever the process might before any of its threads was pinned.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn unpin() {
    if let Some(set) = ALL.get() {
        // It may be forbidden by now: then it stays where it is.
        let _stays = put_on(set);
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn put_on(set: &libc::cpu_set_t) -> io::Result<()> {
    // SAFETY: it reads a set of the size that it is told.
    check(unsafe { libc::sched_setaffinity(0, size_of_val(set), set) })
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn empty_set() -> libc::cpu_set_t {
    // SAFETY: it is an array of bits.
    unsafe { std::mem::zeroed() }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn check(status: libc::c_int) -> io::Result<()> {
    match status {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn processors() -> io::Result<Vec<usize>> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn unpin() {}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn pin(_processor: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::process::Command;

    const CHILD: &str = "SYS_THREAD_CHILD";

    /// In a process of its own, where no other test starts or ends threads.
    #[test]
    fn a_blocked_thread_is_counted_until_it_is_joined() {
        if std::env::var_os(CHILD).is_none() {
            let name = "a_blocked_thread_is_counted_until_it_is_joined";
            let module = module_path!()
                .split_once("::")
                .expect("a module of a crate")
                .1;
            let child = Command::new(std::env::current_exe().expect("this test's own path"))
                .args([&format!("{module}::{name}"), "--exact", "--test-threads=1"])
                .env(CHILD, "1")
                .output()
                .expect("the test binary runs again");
            assert!(
                child.status.success(),
                "{}",
                String::from_utf8_lossy(&child.stdout)
            );
            return;
        }
        let before = thread_count().expect("/proc is mounted");
        assert!(
            matches!(before, 1 | 2),
            "the main thread, and the test's: {before}"
        );
        let (release, held) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || held.recv());
        assert_eq!(thread_count(), Some(before + 1));
        drop(release);
        let _ = thread.join().expect("the thread does not panic");
        // `join` waits for the kernel to clear the thread's id, a moment before its directory goes.
        while thread_count() != Some(before) {
            std::thread::yield_now();
        }
    }
}
