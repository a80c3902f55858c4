//! A pool of connections to PostgreSQL: a queue of places, in which whoever finds one empty makes the connection that it is for.
//!
//! Who waits for a place stands in line; nobody waits longer than [`PATIENCE`], for whatever.

use futures::io::{AsyncRead, AsyncWrite};
use multitask::future::block_on;
use multitask::net::TcpStream;
use multitask::os::unix::net::UnixStream;
use multitask::sync::Queue;
use multitask::{spawn, timeout};
use std::time::Duration;
use tokio_postgres::config::Host;
use tokio_postgres::{Client, Config, Error, NoTls};
use tokio_util::compat::FuturesAsyncReadCompatExt;

/// For a place, and again for what is done in it.
const PATIENCE: Duration = Duration::from_secs(30);

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

pub struct Pool {
    config: Config,
    /// Those that nobody uses; none is ever lost. Empty until it is used first, and after its connection was.
    places: Queue<Option<Client>>,
}

impl Pool {
    pub fn new(config: Config, connections: usize) -> Pool {
        Pool {
            config,
            places: (0..connections).map(|_| None).collect(),
        }
    }

    /// Does something on a connection that is nobody else's meanwhile. Suspends the task.
    ///
    /// # Errors
    /// No place was free in time, the server cannot be reached, it took too long; and those of `f`.
    pub fn with<T>(
        &self,
        f: impl FnOnce(&mut Client) -> std::result::Result<T, Error>,
    ) -> Result<T> {
        let found = self.places.get_timeout(PATIENCE)?;
        let mut place = Place(self, None);
        timeout(PATIENCE, || {
            let usable = found.filter(|client| !client.is_closed());
            let mut client = usable.map_or_else(|| self.connect(), Ok)?;
            let done = f(&mut client);
            place.1 = Some(client);
            Ok(done?)
        })?
    }

    fn connect(&self) -> Result<Client> {
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        match self.config.get_hosts().first() {
            Some(Host::Tcp(host)) => {
                let stream = TcpStream::connect((&**host, port))?;
                stream.set_nodelay(true)?; // what is written is whole
                self.start(stream)
            }
            Some(Host::Unix(folder)) => {
                let stream = UnixStream::connect(folder.join(format!(".s.PGSQL.{port}")))?;
                self.start(stream)
            }
            None => Err("it is not said which host".into()),
        }
    }

    /// The driver wants someone to look after the connection: a task, which ends with it.
    fn start<S>(&self, stream: S) -> Result<Client>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (client, connection) = block_on(self.config.connect_raw(stream.compat(), NoTls))?;
        spawn(move || {
            if let Err(error) = block_on(connection) {
                eprintln!("connection: {error}");
            }
        });
        Ok(client)
    }
}

/// Goes back to where it came from, whatever happens: without its connection if that was left in the middle of something.
struct Place<'a>(&'a Pool, Option<Client>);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let _never_full = self.0.places.try_put(self.1.take());
    }
}
