//! What the HTTP examples make of bytes that come in pieces. Who takes this in names the parser, which is of its own.

use super::{Body, Head, Intake, Status};

/// What was made of a part of the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Request(Head, Vec<u8>),
    Refused(u16),
    /// The rest is the beginning of something.
    Unfinished,
}

/// Feeds the pieces one after the other, as reads would, to one who allows so many bytes of a head and of a body.
pub fn seen<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    max_head: usize,
    max_body: u64,
) -> Vec<Seen> {
    let mut reader = Reader {
        intake: Intake::new(max_head),
        max_body,
        body: None,
        seen: Vec::new(),
    };
    for mut piece in pieces {
        if reader.body.is_none() {
            reader.intake.rest();
        }
        while !piece.is_empty() {
            let room = reader.intake.room();
            let read = room.len().min(piece.len());
            room[..read].copy_from_slice(&piece[..read]);
            reader.intake.filled(read);
            piece = &piece[read..];
            if let Err(status) = reader.go_on() {
                reader.seen.push(Seen::Refused(status.0));
                return reader.seen;
            }
        }
    }
    if reader.body.is_some() || !reader.intake.is_empty() {
        reader.seen.push(Seen::Unfinished);
    }
    reader.seen
}

struct Reader {
    intake: Intake,
    max_body: u64,
    body: Option<(Head, Body, Vec<u8>)>,
    seen: Vec<Seen>,
}

impl Reader {
    fn go_on(&mut self) -> Result<(), Status> {
        loop {
            if let Some((head, mut body, mut content)) = self.body.take() {
                self.intake.body(&mut body, &mut content)?;
                if !body.is_done() {
                    self.body = Some((head, body, content));
                    return Ok(());
                }
                self.seen.push(Seen::Request(head, content));
            }
            let Some(head) = self.intake.head()? else {
                return Ok(());
            };
            let body = Body::new(head.framing, self.max_body)?;
            self.body = Some((head, body, Vec::new()));
        }
    }
}
