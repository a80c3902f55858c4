//! What the tests of `process` need.

use std::path::Path;

/// Has `pidfd_open` fail with `ENOSYS`, as on an old kernel, for the calling thread and those that it starts. Not under an emulator,
/// which knows no filters; see `arch-tests/emulated.txt`.
#[cfg(target_os = "linux")]
pub fn without_pidfd() {
    if std::env::var_os("MULTITASK_EMULATED").is_some() {
        return;
    }
    const fn op(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
        let code = code as u16;
        libc::sock_filter { code, jt, jf, k }
    }
    let number = libc::SYS_pidfd_open as u32;
    let fails = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
    let mut filter = [
        op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0), // the call's number
        op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, number),
        op(libc::BPF_RET | libc::BPF_K, 0, 0, fails),
        op(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: integers only.
    assert_eq!(
        unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) },
        0
    );
    // SAFETY: the program outlives the call.
    let set = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: integers only; it fails.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, std::process::id(), 0) };
    assert_eq!(
        (fd, std::io::Error::last_os_error().raw_os_error()),
        (-1, Some(libc::ENOSYS))
    );
}

/// There is none.
#[cfg(not(target_os = "linux"))]
pub fn without_pidfd() {}

/// Whether there is such a process, be it a zombie.
pub fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}
