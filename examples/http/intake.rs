//! Owns what has come and was not understood yet: it turns bytes, in whatever pieces, into heads and bodies. It knows no socket.

use super::body::Body;
use super::request::{self, Head};
use super::status::Status;

/// Room for what is read at once, at first.
const SMALL: usize = 4 << 10;
/// The same while much comes.
const LARGE: usize = 64 << 10;

/// Bytes that have come: those from `start` to `end` are still to be looked at.
pub struct Intake {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes of a head.
    limit: usize,
}

impl Intake {
    pub fn new(limit: usize) -> Self {
        Intake {
            bytes: Vec::new(),
            start: 0,
            end: 0,
            limit,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The next head, if all of it is there.
    ///
    /// # Errors
    /// It is refused, and nothing that comes after it can be understood.
    pub fn head(&mut self) -> Result<Option<Head>, Status> {
        if self.is_empty() {
            return Ok(None);
        }
        let parsed = request::parse(&self.bytes[self.start..self.end], self.limit)?;
        Ok(parsed.map(|(head, length)| {
            self.start += length;
            head
        }))
    }

    /// Appends to `content` what is there of the body.
    ///
    /// # Errors
    /// As [`Intake::head`].
    pub fn body(&mut self, body: &mut Body, content: &mut Vec<u8>) -> Result<(), Status> {
        self.start += body.decode(&self.bytes[self.start..self.end], content)?;
        Ok(())
    }

    /// Where more can be read into: at least a byte. A head that has no room in what is allowed was refused before.
    pub fn room(&mut self) -> &mut [u8] {
        self.bytes.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.end == self.bytes.len() {
            let larger = if self.bytes.is_empty() { SMALL } else { LARGE };
            self.bytes.resize(larger.max(2 * self.end), 0);
        }
        &mut self.bytes[self.end..]
    }

    /// So much was read into the room.
    pub fn filled(&mut self, bytes: usize) {
        self.end += bytes;
        debug_assert!(self.end <= self.bytes.len());
    }

    /// Gives back what was needed for much: nothing is there, and for a while nothing comes.
    pub fn rest(&mut self) {
        if self.is_empty() && self.bytes.len() > SMALL {
            *self = Intake::new(self.limit);
        }
    }
}
