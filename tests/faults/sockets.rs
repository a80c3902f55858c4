//! Parts of the scenario: sockets other than those of `echo`, and a server that does by itself what `echo` does by hand.

use crate::common::{OnDrop, LONG};
use crate::scenario::{all, begin, converse, end, joined, remove, repeat_lines, Failure, Stage};
use multitask::net::{RecvBatch, Server, TcpListener, TcpStream, UdpSocket};
use multitask::os::unix::net::{UnixListener, UnixStream};
use multitask::{task, timeout};
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Mutex;

pub fn unix(stage: &Stage) -> Result<(), Failure> {
    const MUCH: usize = 300_000;
    let path = stage.folder.join("socket");
    let _removes = OnDrop(|| remove(&path));
    let listener = UnixListener::bind(&path)?;
    task::scope(|s| {
        let client = UnixStream::connect(&path)?;
        let (server, _nameless) = listener.accept_timeout(LONG)?;
        let mut back = server.try_clone()?;
        let echo = begin(s, move || {
            io::copy(&mut &server, &mut back)?;
            Ok(())
        });
        let ours = EndsWriting(client.try_clone()?);
        let writes = begin(s, move || {
            let ours = ours;
            Ok((&ours.0).write_all(&vec![7; MUCH])?)
        });
        let mut answer = Vec::new();
        let read = timeout(LONG, || (&client).read_to_end(&mut answer));
        drop(client);
        all([
            end(echo),
            end(writes),
            read?.map(drop).map_err(Failure::from),
        ])?;
        assert!(answer.len() == MUCH && answer.iter().all(|&byte| byte == 7));
        Ok(())
    })
}

/// Another handle keeps the connection open, so who reads would wait for more.
struct EndsWriting(UnixStream);

impl Drop for EndsWriting {
    fn drop(&mut self) {
        let _gone = self.0.shutdown(Shutdown::Write);
    }
}

pub fn datagrams(stage: &Stage) -> Result<(), Failure> {
    let (here, there) = (
        UdpSocket::bind("127.0.0.1:0")?,
        UdpSocket::bind("127.0.0.1:0")?,
    );
    here.connect(there.local_addr()?)?;
    there.connect(here.local_addr()?)?;
    there.set_read_timeout(Some(LONG))?;
    task::scope(|s| {
        let receives = begin(s, || {
            for n in 0..stage.size {
                let mut data = [0; 8];
                assert_eq!(again(|| there.recv(&mut data))?, 3);
                assert_eq!(data[..3], [n as u8; 3]);
            }
            let mut batch = RecvBatch::new(4, 8);
            let mut count = 0;
            while count < 2 {
                count += again(|| there.recv_many(&mut batch))?;
            }
            Ok(())
        });
        // Who receives waits for nothing that does not come.
        let _ends = OnDrop(|| s.cancel());
        for n in 0..stage.size {
            again(|| here.send(&[n as u8; 3]))?;
        }
        let mut sent = 0;
        while sent < 2 {
            sent += again(|| here.send_many(&[[9; 4]; 2][sent..]))?;
        }
        end(receives)
    })
}

/// As std's own loops do it.
fn again<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

pub fn served(stage: &Stage) -> Result<(), Failure> {
    let server = Server::bind("127.0.0.1:0")?.on_incident(|_| ());
    let (address, handle) = (server.local_addr()?, server.handle());
    let report = Mutex::new(None);
    let outcome = task::scope(|s| {
        let stops = OnDrop(|| handle.stop(LONG));
        let report = &report;
        let serving = begin(s, move || {
            let served = server.serve(|stream: TcpStream, _| repeat_lines(&stream))?;
            *report.lock().unwrap() = Some(served);
            Ok(())
        });
        let clients = [0, 1].map(|n| begin(s, move || converse(address, n)));
        let clients = all(clients.map(end));
        drop(stops);
        all([clients, end(serving)])
    });
    outcome?;
    let report = report.into_inner().unwrap().expect("it has served");
    let (finished, broken) = (report.finished, report.failed + report.panicked);
    if stage.size > 0 && (finished, broken, report.cancelled) != (2, 0, 0) {
        return Err("a handler did not come to its end".into());
    }
    Ok(())
}

pub fn named(_: &Stage) -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let mut client = timeout(LONG, || TcpStream::connect(("localhost", port)))??;
    let (mut server, _) = listener.accept_timeout(LONG)?;
    client.write_all(b"hello")?;
    drop(client);
    let mut heard = String::new();
    server.read_to_string(&mut heard)?;
    assert_eq!(heard, "hello");
    let task = task::Builder::new().spawn(move || drop(listener))?;
    joined(task.join())
}
