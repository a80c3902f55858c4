//! Owns one connection: reads requests, answers them, one after the other, until one of the two has enough.
//!
//! 1. What was answered is written before anything more is read: so a batch of requests is answered by one write, and nobody waits
//!    for an answer that lies here.
//! 2. Each wait for the client is under a limit of time, on something whole; see `limits`.
//! 3. Once something was not understood nothing more is: there is no saying where the next request begins.

use super::body::Body;
use super::files::Opened;
use super::guests::Seat;
use super::intake::Intake;
use super::request::{Framing, Head, Method};
use super::response::Response;
use super::routes::{self, Route};
use super::status::Status;
use super::Service;
use multitask::sync::SemaphorePermit;
use multitask::{timeout, timeout_at};
use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::time::Instant;

/// Bytes that are written at once, and more than a small answer has.
pub const PIECE: usize = 64 << 10;
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// How it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Next,
    /// That was our last word.
    Close,
    /// The client has closed it.
    Gone,
}

pub struct Connection<'a, S> {
    service: &'a Service,
    seat: &'a Seat<'a>,
    stream: S,
    intake: Intake,
    /// What is to be written.
    answers: Vec<u8>,
    /// The first head has to be there by then.
    first: Option<Instant>,
}

impl<'a, S: Read + Write> Connection<'a, S> {
    pub fn new(service: &'a Service, seat: &'a Seat<'a>, stream: S) -> Self {
        Connection {
            service,
            seat,
            stream,
            intake: Intake::new(service.limits.head),
            answers: Vec::new(),
            first: Some(Instant::now() + service.limits.head_time),
        }
    }

    /// To its end: whether it is ours to close it. If so, all is written.
    ///
    /// # Errors
    /// Those of reading and writing; the client does not read what is written.
    pub fn serve(&mut self) -> io::Result<bool> {
        loop {
            let then = match self.next_head()? {
                Ok(Some(head)) => self.answer(&head)?,
                Ok(None) => Then::Gone,
                Err(status) => self.refuse(status),
            };
            match then {
                Then::Next => {}
                Then::Gone => return Ok(false),
                Then::Close => {
                    self.flush()?;
                    return Ok(true);
                }
            }
        }
    }

    pub fn into_stream(self) -> S {
        self.stream
    }

    // ---- requests ----

    /// `None` if the client has gone, or has nothing to ask.
    fn next_head(&mut self) -> io::Result<Result<Option<Head>, Status>> {
        let limits = &self.service.limits;
        let first = self.first.take();
        let mut deadline = first;
        loop {
            match self.intake.head() {
                Ok(None) => {}
                told => return Ok(told),
            }
            let is_idle = self.intake.is_empty();
            let allowed = if is_idle {
                limits.idle_time
            } else {
                limits.head_time
            };
            let until = *deadline.get_or_insert_with(|| Instant::now() + allowed);
            match self.fill(until, is_idle)? {
                Some(0) | None if is_idle => return Ok(Ok(None)),
                Some(0) => return Ok(Err(Status::BAD_REQUEST)), // it ends in the middle
                None => return Ok(Err(Status::REQUEST_TIMEOUT)),
                // From now on it is a head that is waited for.
                Some(_) if is_idle => deadline = first,
                Some(_) => {}
            }
        }
    }

    fn answer(&mut self, head: &Head) -> io::Result<Then> {
        self.service.numbers.count_request();
        let route = match routes::find(head, self.service) {
            Ok(route) => route,
            // Where the body of what is refused ends does not matter any more.
            Err(refusal) => return self.respond(head, &refusal, head.framing == Framing::NO_BODY),
        };
        let body = match self.body(head, route)? {
            Ok(body) => body,
            Err(status) => return Ok(self.refuse(status)),
        };
        let (response, file) = routes::answer(route, head, body.bytes, self.service);
        let then = self.respond(head, &response, true)?;
        if let (Some(file), Method::Get) = (file, head.method) {
            self.send(file)?;
        }
        Ok(then)
    }

    /// All of the body. It is kept only if the route has a use for it.
    fn body(&mut self, head: &Head, route: Route) -> io::Result<Result<Kept<'a>, Status>> {
        let limits = &self.service.limits;
        let mut kept = Kept::default();
        let mut body = match Body::new(head.framing, limits.body) {
            Ok(body) => body,
            Err(status) => return Ok(Err(status)),
        };
        let mut deadline = None;
        let mut is_asked_for = !head.expects_continue;
        while !body.is_done() {
            if let Err(status) = self.intake.body(&mut body, &mut kept.bytes) {
                return Ok(Err(status));
            }
            if route != Route::Echo {
                kept.bytes.clear();
            }
            if let Err(status) = kept.pay(self.service) {
                return Ok(Err(status));
            }
            if body.is_done() {
                break;
            }
            if !is_asked_for {
                self.answers.extend_from_slice(CONTINUE);
                is_asked_for = true;
            }
            let until = *deadline.get_or_insert_with(|| Instant::now() + limits.body_time);
            match self.fill(until, false)? {
                Some(0) => return Ok(Err(Status::BAD_REQUEST)),
                None => return Ok(Err(Status::REQUEST_TIMEOUT)),
                Some(_) => {}
            }
        }
        Ok(Ok(kept))
    }

    // ---- answers ----

    /// Answers, and says whether there may be another request: the client, the server, and whoever calls this have to want it.
    fn respond(&mut self, head: &Head, response: &Response, goes_on: bool) -> io::Result<Then> {
        let goes_on = goes_on && head.keep_alive && !self.service.guests.is_closing();
        let connection = match (goes_on, head.is_old) {
            (false, _) => Some("close"),
            (true, true) => Some("keep-alive"),
            (true, false) => None,
        };
        self.service.numbers.count_answer(response.status);
        response.write_head(&mut self.answers, connection);
        let is_wanted = head.method != Method::Head;
        self.put(if is_wanted {
            response.content.bytes()
        } else {
            &[]
        })?;
        Ok(if goes_on { Then::Next } else { Then::Close })
    }

    /// Sends a file, piece by piece.
    fn send(&mut self, mut file: Opened) -> io::Result<()> {
        let mut piece = mem::take(&mut file.beginning);
        let mut left = file.length;
        loop {
            self.put(&piece)?;
            left -= piece.len() as u64;
            if left == 0 {
                return Ok(());
            }
            piece = file.read(left)?;
        }
    }

    /// Answers something that was not understood, or not to its end: there can be no next one.
    fn refuse(&mut self, status: Status) -> Then {
        let mut response = Response::bare(status);
        if status == Status::UNAVAILABLE {
            response = response.with("Retry-After", "1");
        }
        self.service.numbers.count_answer(status);
        response.write_head(&mut self.answers, Some("close"));
        self.answers.extend_from_slice(response.content.bytes());
        Then::Close
    }

    // ---- reading and writing ----

    /// Reads what comes until then; `None` if nothing does. May suspend.
    fn fill(&mut self, until: Instant, is_idle: bool) -> io::Result<Option<usize>> {
        self.flush()?;
        if is_idle {
            self.intake.rest();
        }
        let _to_be_sent_home = is_idle.then(|| self.seat.idle());
        match timeout_at(until, || self.stream.read(self.intake.room())) {
            Ok(Ok(read)) => {
                self.intake.filled(read);
                Ok(Some(read))
            }
            // So TLS calls an end without a goodbye. Where a request ends is never told by it.
            Ok(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => Ok(Some(0)),
            Ok(Err(error)) => Err(error),
            Err(_too_late) => Ok(None),
        }
    }

    /// Writes it with what else there is, unless that is little.
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.answers.len() + bytes.len() <= PIECE {
            self.answers.extend_from_slice(bytes);
            return Ok(());
        }
        self.flush()?;
        self.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.answers.is_empty() {
            return Ok(());
        }
        let answers = mem::take(&mut self.answers);
        self.write(&answers)?;
        self.answers = answers;
        self.answers.clear();
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        for piece in bytes.chunks(PIECE) {
            timeout(self.service.limits.write_time, || {
                self.stream.write_all(piece)?;
                self.stream.flush()
            })??;
        }
        Ok(())
    }
}

/// A body in memory, and the right to have it there.
#[derive(Default)]
struct Kept<'a> {
    bytes: Vec<u8>,
    permits: Vec<SemaphorePermit<'a>>,
}

impl<'a> Kept<'a> {
    /// Takes a permit for each [`PIECE`] of it.
    ///
    /// # Errors
    /// There are no more for now. They are not waited for: who has some may wait for this one's.
    fn pay(&mut self, service: &'a Service) -> Result<(), Status> {
        while self.permits.len() < self.bytes.len().div_ceil(PIECE) {
            let permit = service.bodies.try_acquire();
            self.permits.push(permit.map_err(|_| Status::UNAVAILABLE)?);
        }
        Ok(())
    }
}
