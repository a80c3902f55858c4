//! The floor: a bare loop over descriptors, without tasks.

use super::protocol::{Talk, BUFFER};
use super::server::compute;
use super::{announce, Service};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

const LISTENER: Token = Token(usize::MAX);

struct Connection {
    stream: TcpStream,
    talk: Talk,
    /// What the system had no room for.
    unsent: Vec<u8>,
}

pub fn serve(service: &Service) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut listener = TcpListener::bind("127.0.0.1:0".parse().expect("an address"))?;
    let registry = poll.registry();
    registry.register(&mut listener, LISTENER, Interest::READABLE)?;
    announce(listener.local_addr()?);

    let (mut connections, mut spare) = (Vec::new(), Vec::new());
    let patience = service.busy.then_some(Duration::ZERO);
    let mut buf = [0; BUFFER];
    loop {
        poll.poll(&mut events, patience)?;
        for event in &events {
            if event.token() == LISTENER {
                while let Some(stream) = accept(&listener)? {
                    let place = spare.pop().unwrap_or(connections.len());
                    if place == connections.len() {
                        connections.push(None);
                    }
                    let mut connection = Connection {
                        stream,
                        talk: Talk::new(service.protocol),
                        unsent: Vec::new(),
                    };
                    let both = Interest::READABLE | Interest::WRITABLE;
                    let registry = poll.registry();
                    registry.register(&mut connection.stream, Token(place), both)?;
                    connections[place] = Some(connection);
                }
                continue;
            }
            let place = event.token().0;
            let Some(connection) = &mut connections[place] else {
                continue; // it was closed by an event before
            };
            let goes_on = connection.advance(&mut buf, event.is_read_closed());
            if !goes_on.unwrap_or(false) {
                connections[place] = None;
                spare.push(place);
            }
        }
        if service.busy {
            compute();
        }
    }
}

fn accept(listener: &TcpListener) -> io::Result<Option<TcpStream>> {
    match listener.accept() {
        Ok((stream, _peer)) => stream.set_nodelay(true).map(|()| Some(stream)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

impl Connection {
    /// Reads and answers what there is; false at the end.
    fn advance(&mut self, buf: &mut [u8], to_the_end: bool) -> io::Result<bool> {
        if !self.unsent.is_empty() {
            let rest = std::mem::take(&mut self.unsent);
            send(&mut self.stream, &rest, &mut self.unsent)?;
        }
        // What has not been sent keeps the other from sending more, as a blocked `write_all` would.
        while self.unsent.is_empty() {
            let n = match self.stream.read(buf) {
                Ok(0) => return Ok(false),
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            let answer = self.talk.answer(&buf[..n]);
            send(&mut self.stream, answer, &mut self.unsent)?;
            // Less than there was room for: there is no more, and what comes will be an event; but the end may have come already.
            if n < buf.len() && !to_the_end {
                break;
            }
        }
        Ok(true)
    }
}

fn send(stream: &mut TcpStream, mut bytes: &[u8], unsent: &mut Vec<u8>) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                unsent.extend_from_slice(bytes);
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
