//! Child processes: their end, announced by a descriptor or waited for.

pub(crate) use super::beyond::open;
use std::io;

/// Blocks this thread until the child has ended, and leaves it to be reaped.
///
/// # Errors
///
/// Those of `waitid(2)`: `ECHILD` when somebody reaps it meanwhile, or has done so.
pub(crate) fn wait_for_end(pid: u32) -> io::Result<()> {
    // SAFETY: integers and pointers; all zero is valid.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` outlives the call.
    match unsafe {
        libc::waitid(
            libc::P_PID,
            pid as libc::id_t,
            &mut info,
            libc::WEXITED | libc::WNOWAIT,
        )
    } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command, Stdio};

    fn cat() -> Child {
        let mut command = Command::new("cat");
        let piped = command.stdin(Stdio::piped());
        piped.spawn().expect("cat is there")
    }

    #[test]
    fn the_end_of_a_child_is_seen_without_reaping_it() {
        let mut child = cat();
        assert_eq!(child.try_wait().expect("our child"), None);
        drop(child.stdin.take());
        for _ in 0..2 {
            wait_for_end(child.id()).expect("our child");
        }
        assert!(child.wait().expect("not reaped yet").success());
        let gone = wait_for_end(child.id()).expect_err("reaped");
        assert_eq!(gone.raw_os_error(), Some(libc::ECHILD));
    }

    #[test]
    fn the_descriptor_of_a_child_is_readable_from_its_end_on() {
        use crate::sys::fd::{poll_one, Poll};
        use std::os::fd::AsFd;
        use std::time::Duration;

        let mut child = cat();
        let Ok(fd) = open(child.id()) else {
            // An old kernel, an emulator, or another system.
            drop(child.wait());
            return;
        };
        let readable = Poll {
            readable: true,
            ..Poll::default()
        };
        assert!(!poll_one(fd.as_fd(), readable, Some(Duration::ZERO)).expect("open"));
        drop(child.stdin.take());
        assert!(poll_one(fd.as_fd(), readable, None).expect("open"));
        assert!(child.wait().expect("our child").success());
    }
}
