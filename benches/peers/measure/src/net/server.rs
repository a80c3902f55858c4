//! The servers of all peers but the bare one and `hyper`: one task accepts, each connection is a task.

use super::protocol::{Protocol, Talk, BUFFER};
use super::{announce, hyper, raw, Service};
use crate::measure::leak;
use crate::model::Peer;
use crate::peer::{dispatch, Lack, Stackful, Stackless};
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

/// What one of the busy tasks computes between yields.
const COMPUTING: Duration = Duration::from_millis(1);

/// Serves until the process is killed.
pub fn serve(peer: Peer, service: &'static Service, connections: usize) -> Result<(), Lack> {
    let ended = |error: io::Error| Err(error.to_string());
    if peer == Peer::Hyper {
        return hyper::serve().or_else(ended);
    }
    dispatch!(
        peer,
        (service, connections),
        stackful,
        stackless,
        raw::serve(service).or_else(ended)
    )
}

pub fn compute() {
    let start = Instant::now();
    while start.elapsed() < COMPUTING {}
}

fn stackful<P: Stackful>((service, connections): (&'static Service, usize)) -> Result<(), Lack> {
    let peer = leak(P::start_server(1, connections)?);
    let served = peer.run(|| -> io::Result<()> {
        if service.busy {
            P::spawn(|| loop {
                P::yield_now();
            });
            P::spawn(|| loop {
                compute();
                P::yield_now();
            });
        }
        let (listener, addr) = P::listen()?;
        announce(addr);
        loop {
            let stream = P::accept(&listener)?;
            P::spawn(|| talk(stream, service.protocol));
        }
    });
    served.map_err(|error| error.to_string())
}

fn talk(mut stream: impl Read + Write, protocol: Protocol) -> io::Result<()> {
    let (mut talk, mut buf) = (Talk::new(protocol), [0; BUFFER]);
    loop {
        match stream.read(&mut buf)? {
            0 => return Ok(()),
            n => stream.write_all(talk.answer(&buf[..n]))?,
        }
    }
}

fn stackless<P: Stackless>(
    peer: Peer,
    (service, _): (&'static Service, usize),
) -> Result<(), Lack> {
    let peer = leak(P::start(peer, 1)?);
    let served: io::Result<()> = peer.run(async {
        if service.busy {
            P::detach(P::spawn(async {
                loop {
                    P::yield_now().await;
                }
            }));
            P::detach(P::spawn(async {
                loop {
                    compute();
                    P::yield_now().await;
                }
            }));
        }
        let (mut listener, addr) = P::listen().await?;
        announce(addr);
        loop {
            let stream = P::accept(&mut listener).await?;
            P::detach(P::spawn(async_talk::<P>(stream, service.protocol)));
        }
    });
    served.map_err(|error| error.to_string())
}

async fn async_talk<P: Stackless>(mut stream: P::Stream, protocol: Protocol) -> io::Result<()> {
    let (mut talk, mut buf) = (Talk::new(protocol), [0; BUFFER]);
    loop {
        match P::read(&mut stream, &mut buf).await? {
            0 => return Ok(()),
            n => P::write_all(&mut stream, talk.answer(&buf[..n])).await?,
        }
    }
}
