//! The server: sends everything back, with a limit for each read and each write; and some of its connections are cut off wherever they are.

use crate::books::{Account, PIECE};
use crate::World;
use multitask::net::TcpStream;
use multitask::task::scope;
use multitask::{sleep, timeout};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::Arc;

pub fn serve(world: &Arc<World>, stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
    world.accepted.fetch_add(1, SeqCst);
    let account = Account::of_server(&world.books, number(peer));
    let mut random = world.random("server", account.connection);
    stream.set_read_timeout(Some(world.patience))?;
    stream.set_write_timeout(Some(world.patience))?;
    match random.below(16) {
        0 => {
            let limit = world.within(&mut random, 1.5);
            let _in_time = timeout(limit, || echo(&stream, &account));
        }
        1 => {
            let moment = world.within(&mut random, 1.5);
            // Who is cut off itself meanwhile waits for it all the same: the books are closed when the server has ended.
            scope(|scope| {
                let task = scope.spawn(|| echo(&stream, &account));
                sleep(moment);
                task.cancel();
                if let Err(error) = task.join() {
                    assert!(error.is_cancelled(), "{error}");
                }
            });
        }
        _ => echo(&stream, &account),
    }
    Ok(())
}

/// How it ends is in the account.
fn echo(stream: &TcpStream, account: &Account) {
    let mut buf = [0; PIECE];
    while let Ok(n @ 1..) = account.read(stream, &mut buf) {
        if account.write_all(stream, &buf[..n]).is_err() {
            return;
        }
    }
}

/// Clients come from an address of their own each, which is the number of the connection: the server knows it although nothing was said.
fn number(peer: SocketAddr) -> u32 {
    match peer.ip() {
        IpAddr::V4(ip) => ip.to_bits() & 0x00ff_ffff,
        IpAddr::V6(_) => unreachable!("it is IPv4"),
    }
}
