//! The crate `redis` over our socket: with [`ConnectionLike`] a [`Connection`] has all commands of that crate, and each of them suspends
//! the task that waits for its answer.

use multitask::net::TcpStream;
use multitask::timeout;
use redis::{cmd, ConnectionLike, Parser, RedisResult, Value};
use std::env;
use std::io::{self, ErrorKind, Write};
use std::time::Duration;

pub struct Connection {
    stream: TcpStream,
    /// Holds what has been read of the next answer.
    parser: Parser,
    /// No answer is missing, so the next one belongs to the next question.
    is_open: bool,
}

impl Connection {
    /// Connects to `HOST:PORT`, and says the password if there is one: in `REDISCLI_AUTH`, as for `redis-cli`.
    ///
    /// # Errors
    /// Nobody answers there within `patience`, which is from then on the limit for each answer and each write; the password is wrong.
    pub fn open(addr: &str, patience: Duration) -> RedisResult<Connection> {
        let connected = timeout(patience, || TcpStream::connect(addr));
        let stream =
            connected.unwrap_or_else(|late| Err(io::Error::new(ErrorKind::TimedOut, late)))?;
        stream.set_nodelay(true)?; // what is written is whole
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        let mut connection = Connection {
            stream,
            parser: Parser::new(),
            is_open: true,
        };
        if let Ok(password) = env::var("REDISCLI_AUTH") {
            cmd("AUTH").arg(password).exec(&mut connection)?;
        }
        Ok(connection)
    }

    /// Asks, and hears that many answers.
    fn ask(&mut self, questions: &[u8], answers: usize) -> RedisResult<Vec<Value>> {
        let was_open = std::mem::replace(&mut self.is_open, false);
        if !was_open {
            return Err(io::Error::from(ErrorKind::NotConnected).into());
        }
        self.stream.write_all(questions)?;
        let answers = (0..answers)
            .map(|_| self.parser.parse_value(&mut self.stream))
            .collect::<RedisResult<_>>()?;
        self.is_open = true;
        Ok(answers)
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command(&mut self, question: &[u8]) -> RedisResult<Value> {
        let mut answers = self.ask(question, 1)?;
        Ok(answers.remove(0))
    }

    /// The first `offset` answers are those of a transaction on its way, and not asked for.
    fn req_packed_commands(
        &mut self,
        questions: &[u8],
        offset: usize,
        count: usize,
    ) -> RedisResult<Vec<Value>> {
        let answers = self.ask(questions, offset + count)?;
        Ok(answers.into_iter().skip(offset).collect())
    }

    fn get_db(&self) -> i64 {
        0
    }

    fn check_connection(&mut self) -> bool {
        cmd("PING").exec(self).is_ok()
    }

    fn is_open(&self) -> bool {
        self.is_open
    }
}
