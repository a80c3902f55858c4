//! What is loaded where: the program, its libraries, and the tables by which their frames are unwound.

use std::ffi::c_void;

/// The program or a library, as loaded.
pub(crate) struct Object<'a> {
    base: usize,
    headers: &'a [libc::Elf64_Phdr],
}

/// Calls `look` with the object whose code `address` is in; it is not unloaded meanwhile. `None` if there is none. Blocks while another
/// thread loads one.
pub(crate) fn with_object_at<R, F: FnOnce(&Object<'_>) -> R>(address: usize, look: F) -> Option<R> {
    let mut search = Search {
        address,
        look: Some(look),
        answer: None,
    };
    let each = each::<R, F>;
    // SAFETY: `each` is given what it takes, and `search` outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(each), (&raw mut search).cast()) };
    search.answer
}

struct Search<F, R> {
    address: usize,
    look: Option<F>,
    answer: Option<R>,
}

/// # Safety
/// `dl_iterate_phdr` calls it, with a `Search` as data.
unsafe extern "C" fn each<R, F: FnOnce(&Object<'_>) -> R>(
    info: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    data: *mut c_void,
) -> libc::c_int {
    // SAFETY: `with_object_at` has it, and waits.
    let search = unsafe { &mut *data.cast::<Search<F, R>>() };
    // SAFETY: the loader's, for the time of this call.
    let info = unsafe { &*info };
    if info.dlpi_phdr.is_null() {
        return 0;
    }
    // SAFETY: so many headers are there, as the loader says, and stay for the time of this call.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let object = Object {
        base: info.dlpi_addr as usize,
        headers,
    };
    if !object.has(search.address) {
        return 0;
    }
    search.answer = search.look.take().map(|look| look(&object));
    1
}

impl Object<'_> {
    fn has(&self, address: usize) -> bool {
        self.from(address, libc::PF_X).is_some()
    }

    /// Where its table of frames begins (`.eh_frame_hdr`), if it has one.
    pub(crate) fn frames(&self) -> Option<usize> {
        let is_frames = |header: &&libc::Elf64_Phdr| header.p_type == libc::PT_GNU_EH_FRAME;
        let header = self.headers.iter().find(is_frames)?;
        Some(self.base.wrapping_add(header.p_vaddr as usize))
    }

    /// What is loaded from this address on, to the end of its segment; `None` if it is not this object's, or not to be read.
    pub(crate) fn contents(&self, address: usize) -> Option<&[u8]> {
        let len = self.from(address, libc::PF_R)?;
        // SAFETY: of a segment that is loaded, and stays for as long as we look at the object. Tables are not written to.
        Some(unsafe { std::slice::from_raw_parts(address as *const u8, len) })
    }

    /// How many bytes there are from this address on in its segment, if that allows so much.
    fn from(&self, address: usize, flags: u32) -> Option<usize> {
        self.headers
            .iter()
            .filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & flags == flags)
            .find_map(|header| {
                let start = self.base.wrapping_add(header.p_vaddr as usize);
                let within = address.checked_sub(start)?;
                (header.p_memsz as usize)
                    .checked_sub(within)
                    .filter(|&left| left > 0)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_function_is_in_an_object_with_tables_and_a_variable_on_the_stack_in_none() {
        let here = this_function_is_in_an_object_with_tables_and_a_variable_on_the_stack_in_none
            as *const () as usize;
        let tables = with_object_at(here, |object| {
            let frames = object.frames().expect("tables");
            object.contents(frames).expect("loaded").first().copied()
        });
        // The version of its format.
        assert_eq!(tables, Some(Some(1)));
        let variable = 0;
        assert!(with_object_at((&raw const variable) as usize, |_| ()).is_none());
    }
}
