//! The clients: each does one of the things that clients do, at a pace of its own.

use crate::books::{Account, End};
use crate::common::Random;
use crate::{Connecting, World};
use multitask::io::wait_writable;
use multitask::net::{Shutdown, TcpStream};
use multitask::{sleep, task};
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::Arc;
use std::time::Duration;

/// What clients do.
struct Deed {
    /// How many of all do it.
    share: usize,
    buffers: Buffers,
    act: fn(&mut Client) -> io::Result<()>,
}

/// Of the system, for a connection.
#[derive(Clone, Copy, PartialEq)]
enum Buffers {
    Usual,
    /// So that they are full soon.
    Small,
}

const DEEDS: &[Deed] = &[
    deed(30, Buffers::Usual, Client::converses),
    deed(10, Buffers::Usual, Client::says_nothing),
    deed(10, Buffers::Usual, Client::stalls),
    deed(10, Buffers::Usual, Client::resets),
    deed(10, Buffers::Usual, Client::half_closes),
    deed(8, Buffers::Small, Client::reads_slowly),
    deed(4, Buffers::Small, Client::never_reads),
    deed(8, Buffers::Usual, Client::goes_away),
    deed(10, Buffers::Usual, Client::does_both_at_once),
];

const fn deed(share: usize, buffers: Buffers, act: fn(&mut Client) -> io::Result<()>) -> Deed {
    Deed {
        share,
        buffers,
        act,
    }
}

pub struct Client {
    world: Arc<World>,
    random: Random,
    stream: TcpStream,
    account: Account,
}

/// One client from beginning to end, whatever becomes of it.
pub fn run(world: &Arc<World>, number: u32, connecting: Connecting) {
    let account = Account::of_client(&world.books, number);
    let mut random = world.random("client", number);
    let deed = Deed::choose(&mut random);
    let stream = match connect(world, number, deed.buffers) {
        Ok(stream) => stream,
        Err(error) => return world.unconnected(&error),
    };
    account.ends(End::Left);
    world.connected.fetch_add(1, SeqCst);
    drop(connecting);
    let mut client = Client {
        world: world.clone(),
        random,
        stream,
        account,
    };
    // How it ended is in the account.
    let _ended = (deed.act)(&mut client);
}

impl Deed {
    fn choose(random: &mut Random) -> &'static Deed {
        let all = DEEDS.iter().map(|deed| deed.share).sum();
        let mut choice = random.below(all);
        let mut deeds = DEEDS.iter();
        loop {
            let deed = deeds.next().expect("the choice is one of them");
            match choice.checked_sub(deed.share) {
                Some(rest) => choice = rest,
                None => return deed,
            }
        }
    }
}

/// From the address that is the number.
fn connect(world: &World, number: u32, buffers: Buffers) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    let own = Ipv4Addr::from_bits(0x7f00_0000 | number);
    socket.bind(&SocketAddr::from((own, 0)).into())?;
    if buffers == Buffers::Small {
        socket.set_recv_buffer_size(8 << 10)?;
        socket.set_send_buffer_size(8 << 10)?;
    }
    socket.set_nonblocking(true)?;
    if let Err(error) = socket.connect(&world.addr.into()) {
        if error.raw_os_error() != Some(libc::EINPROGRESS) {
            return Err(error);
        }
        wait_writable(socket.as_fd(), Some(4 * world.patience))?;
        if let Some(error) = socket.take_error()? {
            return Err(error);
        }
    }
    let stream = TcpStream::from(std::net::TcpStream::from(socket));
    stream.set_read_timeout(Some(4 * world.patience))?;
    stream.set_write_timeout(Some(4 * world.patience))?;
    Ok(stream)
}

// ---- what they do ----

impl Client {
    /// Says something, waits for the answer, thinks; again and again.
    fn converses(&mut self) -> io::Result<()> {
        for _ in 0..=self.random.below(8) {
            let count = 1 + self.random.below(4096);
            self.send(count)?;
            self.receive(count)?;
            self.pause(0.5);
        }
        self.ends_sending()?;
        self.drain()
    }

    fn says_nothing(&mut self) -> io::Result<()> {
        self.drain()
    }

    /// Beyond the patience of the server.
    fn stalls(&mut self) -> io::Result<()> {
        let count = 1 + self.random.below(2000);
        self.send(count)?;
        if self.random.below(2) == 0 {
            self.receive(count / 2)?;
        }
        sleep(self.world.patience);
        self.pause(0.5);
        self.drain()
    }

    fn resets(&mut self) -> io::Result<()> {
        let count = self.random.below(8192);
        self.send(count)?;
        let count = self.random.below(count + 1);
        self.receive(count)?;
        self.pause(0.5);
        if self.random.below(2) == 0 {
            self.ends_sending()?;
        }
        self.stream.set_linger(Some(Duration::ZERO))
    }

    fn half_closes(&mut self) -> io::Result<()> {
        let count = self.random.below(16 << 10);
        self.send(count)?;
        self.ends_sending()?;
        self.pause(0.5);
        self.drain()
    }

    /// Byte by byte, nearly.
    fn reads_slowly(&mut self) -> io::Result<()> {
        let count = 1 + self.random.below(32 << 10);
        self.send(count)?;
        self.ends_sending()?;
        for _ in 0..20 {
            let piece = 1 + self.random.below(200);
            if self.read(piece)? == 0 {
                return Ok(());
            }
            self.pause(0.2);
        }
        self.drain()
    }

    /// Until the server has had enough of it.
    fn never_reads(&mut self) -> io::Result<()> {
        loop {
            self.send(16 << 10)?;
        }
    }

    /// Without a word, and most often with bytes under way.
    fn goes_away(&mut self) -> io::Result<()> {
        let count = self.random.below(16 << 10);
        self.send(count)?;
        self.pause(0.1);
        Ok(())
    }

    /// One task writes, one reads.
    fn does_both_at_once(&mut self) -> io::Result<()> {
        let rounds = 1 + self.random.below(16);
        let count = 1 + self.random.below(8192);
        let this = &*self;
        task::scope(|scope| {
            scope.spawn(move || {
                for _ in 0..rounds {
                    this.send(count)?;
                }
                this.ends_sending()
            });
            this.drain()
        })
    }

    // ---- how they do it ----

    fn send(&self, count: usize) -> io::Result<()> {
        let data = self.account.next(count);
        self.account.write_all(&self.stream, &data)
    }

    fn read(&self, count: usize) -> io::Result<usize> {
        let mut buf = [0; 2048];
        let count = count.min(buf.len());
        self.account.read(&self.stream, &mut buf[..count])
    }

    /// So many, or to the end.
    fn receive(&self, mut count: usize) -> io::Result<()> {
        while count > 0 {
            match self.read(count)? {
                0 => return Ok(()),
                n => count -= n,
            }
        }
        Ok(())
    }

    fn drain(&self) -> io::Result<()> {
        self.receive(usize::MAX)
    }

    fn ends_sending(&self) -> io::Result<()> {
        let ended = self.stream.shutdown(Shutdown::Write);
        ended.inspect_err(|error| self.account.fails(error))
    }

    /// Up to this share of the server's patience.
    fn pause(&mut self, share: f64) {
        sleep(self.world.within(&mut self.random, share));
    }
}
