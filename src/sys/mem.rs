//! Address space: mapping it, guarding it, giving its memory back.

pub(crate) use super::beyond::guard_install;
use super::beyond::DISCARD;
use std::io;
use std::sync::OnceLock;

/// The page size of this machine, which need not be 4096.
pub(crate) fn page_size() -> usize {
    static PAGE_SIZE: OnceLock<usize> = OnceLock::new();
    *PAGE_SIZE.get_or_init(|| {
        // SAFETY: takes an int and touches no memory of ours.
        let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        usize::try_from(size)
            .ok()
            .filter(|size| size.is_power_of_two())
            .expect("the page size is a power of two")
    })
}

/// Maps `len` bytes of zeros, readable and writable, that take memory only when they are touched, and never as huge
/// pages.
///
/// # Errors
///
/// Those of `mmap(2)`. That huge pages cannot be refused is not an error.
pub(crate) fn reserve(len: usize) -> io::Result<*mut u8> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new anonymous mapping where the kernel likes: it replaces nothing.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, MAP_FLAGS, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // One touched page of a stack would otherwise become 2 MiB of memory where huge pages are always on.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    // SAFETY: the range was mapped above; this advice changes no contents.
    let _best_effort = unsafe { libc::madvise(start, len, libc::MADV_NOHUGEPAGE) };
    Ok(start.cast())
}

#[cfg(any(
    target_os = "linux",
    target_os = "android",
    target_vendor = "apple",
    target_os = "netbsd"
))]
const MAP_FLAGS: libc::c_int = libc::MAP_PRIVATE | libc::MAP_ANON | libc::MAP_NORESERVE;
/// OpenBSD kills a process whose stack pointer leaves `MAP_STACK` memory.
#[cfg(target_os = "openbsd")]
const MAP_FLAGS: libc::c_int = libc::MAP_PRIVATE | libc::MAP_ANON | libc::MAP_STACK;
#[cfg(not(any(
    target_os = "linux",
    target_os = "android",
    target_vendor = "apple",
    target_os = "netbsd",
    target_os = "openbsd"
)))]
const MAP_FLAGS: libc::c_int = libc::MAP_PRIVATE | libc::MAP_ANON;

/// Unmaps `len` bytes at `start`.
///
/// # Safety
///
/// The range is whole pages of mappings that the caller owns, and nobody uses them any more.
///
/// # Errors
///
/// Those of `munmap(2)`; the range is then still mapped.
pub(crate) unsafe fn release(start: *mut u8, len: usize) -> io::Result<()> {
    // SAFETY: the caller owns the range.
    check(unsafe { libc::munmap(start.cast(), len) })
}

/// Makes `len` bytes at `start` fault on every access, at the cost of splitting the mapping they lie in. Survives
/// [`discard`].
///
/// # Safety
///
/// The range is whole pages of a mapping that the caller owns, and nobody uses them.
///
/// # Errors
///
/// Those of `mprotect(2)`: `OutOfMemory` when the process has `vm.max_map_count` mappings.
pub(crate) unsafe fn protect_none(start: *mut u8, len: usize) -> io::Result<()> {
    // SAFETY: the caller owns the range.
    check(unsafe { libc::mprotect(start.cast(), len, libc::PROT_NONE) })
}

/// Gives the memory of `len` bytes at `start` back to the system; the addresses stay mapped. On Linux they read as
/// zeros from now on, elsewhere as zeros or as what was there.
///
/// # Safety
///
/// The range is whole pages of an anonymous mapping that the caller owns, and nobody needs their contents.
///
/// # Errors
///
/// Those of `madvise(2)`: `InvalidInput` (`EINVAL`) on locked memory.
pub(crate) unsafe fn discard(start: *mut u8, len: usize) -> io::Result<()> {
    // SAFETY: the caller owns the range and does not need what is in it.
    check(unsafe { libc::madvise(start.cast(), len, DISCARD) })
}

/// Whether a read at `start` would succeed: asks the kernel to read the byte, which fails where we would fault.
///
/// # Errors
///
/// No descriptors for the pipe it is read into.
pub(crate) fn is_readable(start: *const u8) -> io::Result<bool> {
    use std::os::fd::AsRawFd;

    let (_reader, writer) = io::pipe()?;
    // SAFETY: the kernel checks the address itself, and an empty pipe has room for one byte.
    let written = unsafe { libc::write(writer.as_raw_fd(), start.cast(), 1) };
    Ok(written == 1)
}

/// Which of the pages from `start` on have memory: of those the lowest bit is set. One that was swapped out may count as if
/// it had none.
///
/// # Errors
///
/// Those of `mincore(2)`: `OutOfMemory` if a page is not mapped. `Unsupported` where there is no such call.
pub(crate) fn resident(start: *const u8, pages: &mut [u8]) -> io::Result<()> {
    #[cfg(target_os = "openbsd")]
    return Err(io::ErrorKind::Unsupported.into());
    #[cfg(not(target_os = "openbsd"))]
    {
        let len = pages.len() * page_size();
        // SAFETY: the kernel looks at its tables, not at the range, and writes a byte for each page of it.
        check(unsafe { libc::mincore(start.cast_mut().cast(), len, pages.as_mut_ptr().cast()) })
    }
}

/// How many mappings a process may have: `vm.max_map_count` on Linux, or its usual 65,530 where it cannot be read; no
/// limit elsewhere.
pub(crate) fn max_map_count() -> usize {
    if !cfg!(any(target_os = "linux", target_os = "android")) {
        return usize::MAX;
    }
    let text = std::fs::read_to_string("/proc/sys/vm/max_map_count");
    text.ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(65_530)
}

fn check(answer: libc::c_int) -> io::Result<()> {
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Bytes that the caches keep together.
pub(crate) const LINE: usize = 64;

/// Has the processor fetch what is at `address`, which may be anything, into its caches.
#[inline(always)]
pub(crate) fn prefetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which reads nothing and never faults; every x86_64 has it.
    unsafe {
        use std::arch::x86_64::{_mm_prefetch, _MM_HINT_T0};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a hint, which reads nothing and never faults.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{0}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}

/// For tests: how many mappings this process has.
#[cfg(all(test, target_os = "linux"))]
pub(crate) fn mappings() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps");
    maps.expect("/proc is mounted").lines().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four pages, unmapped at the end of the test.
    struct Pages(*mut u8);

    impl Pages {
        fn new() -> Pages {
            Pages(reserve(4 * page_size()).expect("address space"))
        }

        fn page(&self, index: usize) -> *mut u8 {
            assert!(index < 4);
            self.0.wrapping_add(index * page_size())
        }
    }

    impl Drop for Pages {
        fn drop(&mut self) {
            // SAFETY: mapped in `new`, and ours alone.
            unsafe { release(self.0, 4 * page_size()) }.expect("it is mapped");
        }
    }

    #[test]
    fn reserved_memory_reads_as_zero_and_keeps_what_is_written() {
        let pages = Pages::new();
        // SAFETY: mapped, and ours alone.
        assert_eq!(unsafe { pages.page(3).read() }, 0);
        // SAFETY: as above.
        unsafe { pages.page(3).write(7) };
        // SAFETY: as above.
        assert_eq!(unsafe { pages.page(3).read() }, 7);
    }

    #[test]
    fn a_protected_page_is_unreadable_and_its_neighbour_is_not() {
        let pages = Pages::new();
        // SAFETY: the second of our pages.
        unsafe { protect_none(pages.page(1), page_size()) }.expect("it is mapped");
        let readable = [0, 1, 2].map(|index| is_readable(pages.page(index)).expect("a pipe"));
        assert_eq!(readable, [true, false, true]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_guarded_page_stays_unreadable_when_its_memory_is_discarded() {
        let pages = Pages::new();
        // SAFETY: the first of our pages.
        match unsafe { guard_install(pages.page(0), page_size()) } {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return, // an old kernel
            installed => installed.expect("it is mapped"),
        }
        if is_readable(pages.page(0)).expect("a pipe") {
            return; // an emulator that takes every advice and follows none
        }
        // SAFETY: all of our pages.
        unsafe { discard(pages.page(0), 4 * page_size()) }.expect("it is mapped");
        assert!(!is_readable(pages.page(0)).expect("a pipe"));
        assert!(is_readable(pages.page(1)).expect("a pipe"));
    }

    #[cfg(all(target_os = "linux", not(multitask_portable)))]
    #[test]
    fn a_page_is_resident_from_when_it_is_touched_until_it_is_discarded() {
        let pages = Pages::new();
        let resident = || {
            let mut seen = [0; 4];
            resident(pages.page(0), &mut seen).expect("it is mapped");
            seen.map(|page| page & 1)
        };
        assert_eq!(resident(), [0; 4]);
        // SAFETY: mapped, and ours alone.
        unsafe { pages.page(2).write(7) };
        assert_eq!(resident(), [0, 0, 1, 0]);
        // SAFETY: our third page.
        unsafe { discard(pages.page(2), page_size()) }.expect("it is mapped");
        assert_eq!(resident(), [0; 4]);
    }

    #[cfg(all(target_os = "linux", not(multitask_portable)))]
    #[test]
    fn discarded_memory_reads_as_zero() {
        let pages = Pages::new();
        // SAFETY: mapped, and ours alone.
        unsafe { pages.page(2).write(7) };
        // SAFETY: our third page.
        unsafe { discard(pages.page(2), page_size()) }.expect("it is mapped");
        // SAFETY: still mapped.
        assert_eq!(unsafe { pages.page(2).read() }, 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn more_than_the_machine_s_memory_can_be_reserved() {
        if usize::BITS < 64 {
            return;
        }
        let len = 1 << 40;
        let Ok(start) = reserve(len) else {
            return; // a limit of the process, or overcommit turned off
        };
        // SAFETY: mapped above, and ours alone.
        unsafe { release(start, len) }.expect("it is mapped");
    }

    #[test]
    fn the_limit_of_mappings_is_not_nothing() {
        assert!(max_map_count() >= 1_000);
    }
}
