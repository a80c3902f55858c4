//! All that a child writes, on both of its streams at once, gathered by the one task that calls.
//!
//! 1. Each round reads once from each pipe that is open, so a child that has to get rid of one before it goes on with the
//!    other always can.
//! 2. It waits only when neither had anything, for either of them.

use super::pipes::{ChildStderr, ChildStdout};
use crate::io::source::{wait_any, Awaited, Source};
use crate::rt::header::Why;
use crate::rt::park::charge;
use crate::rt::reactor::Interest;
use crate::sys::file;
use std::io::{self, ErrorKind, IoSliceMut};
use std::os::fd::AsFd;

/// Reads both to their ends. Limits that are set on the pipes are for single reads, and not kept here.
///
/// # Errors
/// Those of reading; that of interrupting.
pub(super) fn gather(
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut stdout = stdout.map(|pipe| pipe.source);
    let mut stderr = stderr.map(|pipe| pipe.source);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut buf = vec![0; AT_ONCE];
    loop {
        charge();
        let awaited = (awaited(&stdout), self::awaited(&stderr));
        let news = (
            read(&stdout, &mut buf, &mut out)?,
            read(&stderr, &mut buf, &mut err)?,
        );
        match (news, awaited) {
            ((News::End, News::End), _) => return Ok((out, err)),
            ((News::None, News::None), (Some(one), Some(other))) => {
                wait_any([one, other], Why::Read, None)?;
            }
            ((News::None, News::End), (Some(one), _))
            | ((News::End, News::None), (_, Some(one))) => {
                wait_any([one], Why::Read, None)?;
            }
            _ => {}
        }
        stdout = stdout.filter(|_| news.0 != News::End);
        stderr = stderr.filter(|_| news.1 != News::End);
    }
}

/// What a pipe holds, if nobody has changed it.
const AT_ONCE: usize = 64 << 10;

#[derive(Clone, Copy, PartialEq, Eq)]
enum News {
    Some,
    None,
    End,
}

fn awaited<T: AsFd>(pipe: &Option<Source<T>>) -> Option<Awaited<'_>> {
    pipe.as_ref().map(|pipe| pipe.awaited(Interest::Read))
}

fn read<T: AsFd>(pipe: &Option<Source<T>>, buf: &mut [u8], to: &mut Vec<u8>) -> io::Result<News> {
    let Some(pipe) = pipe else {
        return Ok(News::End);
    };
    match file::read(pipe.get().as_fd(), &mut [IoSliceMut::new(buf)]) {
        Ok(0) => Ok(News::End),
        Ok(n) => {
            to.extend_from_slice(&buf[..n]);
            Ok(News::Some)
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(News::None),
        // Looked at again in the next round.
        Err(error) if error.kind() == ErrorKind::Interrupted => Ok(News::Some),
        Err(error) => Err(error),
    }
}
