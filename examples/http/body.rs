//! Owns where a body ends, of one with a length and of one in chunks.
//!
//! 1. As for heads: an error is that of the first byte that shows it, however the bytes come.
//! 2. A line ends with CR and LF, both of them, and a size is hexadecimal digits and nothing else. What others let pass is how
//!    requests are smuggled past them.
//! 3. Nothing is kept but numbers: extensions and trailers are read over, and so many bytes of them at most.

use super::request::Framing;
use super::status::Status;

/// Bytes of a line that begins a chunk, its end not counted.
pub const CHUNK_LINE: usize = 256;
/// Bytes of all trailers.
pub const TRAILERS: usize = 8 << 10;
/// Hexadecimal digits of a size.
const DIGITS: usize = 16;

/// What is left of a body.
#[derive(Clone, Debug)]
pub struct Body {
    at: At,
    /// Bytes that further chunks may have.
    allowance: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    End,
    /// In a body with a length: so much is left.
    Rest(u64),
    /// In the digits of a size: so much by now, of so many digits.
    Size(u64, usize),
    /// Past them, in what may follow; so many bytes of the line.
    Extension(u64, usize),
    /// Between the CR and the LF of such a line.
    SizeEnd(u64),
    Chunk(u64),
    ChunkCr,
    ChunkLf,
    /// At the beginning of a line of the trailers; so many bytes of them.
    TrailerStart(usize),
    Trailer(usize),
    TrailerEnd(usize),
    /// Between the last CR and the last LF.
    LastLf,
}

impl Body {
    /// # Errors
    /// It has more bytes than `limit`, and says so.
    pub fn new(framing: Framing, limit: u64) -> Result<Body, Status> {
        let at = match framing {
            Framing::Length(0) => At::End,
            Framing::Length(length) if length > limit => return Err(Status::BODY_TOO_LARGE),
            Framing::Length(length) => At::Rest(length),
            Framing::Chunked => At::Size(0, 0),
        };
        Ok(Body {
            at,
            allowance: limit,
        })
    }

    pub fn is_done(&self) -> bool {
        self.at == At::End
    }

    /// Appends to `content` what `input` has of it, and says how much of `input` belongs to the body: all, unless the end is in it.
    ///
    /// # Errors
    /// It is no such body, or too long.
    pub fn decode(&mut self, input: &[u8], content: &mut Vec<u8>) -> Result<usize, Status> {
        let mut used = 0;
        while used < input.len() && !self.is_done() {
            used += match self.at {
                At::Rest(left) | At::Chunk(left) => {
                    let here = &input[used..];
                    let here = &here[..here.len().min(left.try_into().unwrap_or(usize::MAX))];
                    content.extend_from_slice(here);
                    self.at = self.after(left - here.len() as u64);
                    here.len()
                }
                _ => {
                    self.at = self.step(input[used])?;
                    1
                }
            };
        }
        Ok(used)
    }

    /// Where one is with so much left, of the body or of a chunk.
    fn after(&self, left: u64) -> At {
        match (self.at, left) {
            (At::Rest(_), 0) => At::End,
            (At::Rest(_), left) => At::Rest(left),
            (_, 0) => At::ChunkCr,
            (_, left) => At::Chunk(left),
        }
    }

    fn step(&mut self, byte: u8) -> Result<At, Status> {
        let next = match (self.at, byte) {
            (At::Size(size, digits), _) if byte.is_ascii_hexdigit() && digits < DIGITS => {
                At::Size(size << 4 | u64::from(digit(byte)), digits + 1)
            }
            (At::Size(size, 1..), b'\r') => At::SizeEnd(size),
            (At::Size(size, digits @ 1..), b';' | b' ' | b'\t') => At::Extension(size, digits + 1),
            (At::Extension(size, _), b'\r') => At::SizeEnd(size),
            (At::Extension(size, length), _) if is_text(byte) && length < CHUNK_LINE => {
                At::Extension(size, length + 1)
            }
            (At::SizeEnd(0), b'\n') => At::TrailerStart(0),
            (At::SizeEnd(size), b'\n') => {
                let left = self.allowance.checked_sub(size);
                self.allowance = left.ok_or(Status::BODY_TOO_LARGE)?;
                At::Chunk(size)
            }
            (At::ChunkCr, b'\r') => At::ChunkLf,
            (At::ChunkLf, b'\n') => At::Size(0, 0),
            (At::TrailerStart(_), b'\r') => At::LastLf,
            (At::LastLf, b'\n') => At::End,
            (At::Trailer(length), b'\r') => At::TrailerEnd(length),
            (At::TrailerEnd(length), b'\n') => At::TrailerStart(length),
            (At::TrailerStart(length) | At::Trailer(length), _) if is_text(byte) => {
                if length == TRAILERS {
                    return Err(Status::HEAD_TOO_LARGE);
                }
                At::Trailer(length + 1)
            }
            _ => return Err(Status::BAD_REQUEST),
        };
        Ok(next)
    }
}

fn digit(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte - b'0',
        _ => (byte | 0x20) - b'a' + 10,
    }
}

/// What may stand in an extension or a trailer.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}
