//! The hackysack benchmark: players stand in a ring, and each kicks the ball to another one, picked at random.
//!
//! ```text
//! cargo run --release --example hackysack -- [--threads] [PLAYERS [KICKS]]
//! ```
//!
//! A player is a task, and each has a queue; with `--threads` a player is a thread of std with a channel of std. The ball
//! carries the dice, so both play the same game: how it ends is on standard output, how long it took on standard error.
//!
//! The game is known from Stackless Python, where it compared tasklets with threads in the same way.

use multitask::sync::Queue;
use std::error::Error;
use std::sync::mpsc::{sync_channel, SyncSender};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let threads = args.first().is_some_and(|arg| arg == "--threads");
    args.drain(..usize::from(threads));
    let players = args.first().map_or(Ok(1_000), |arg| arg.parse())?;
    let kicks = args.get(1).map_or(Ok(1_000_000), |arg| arg.parse())?;
    if players < 2 || args.len() > 2 {
        return Err(
            "usage: hackysack [--threads] [PLAYERS [KICKS]], with 2 players at least".into(),
        );
    }

    let start = Instant::now();
    let last = if threads {
        play_with_threads(players, Ball::new(kicks))?
    } else {
        play_with_tasks(players, Ball::new(kicks))?
    };
    let time = start.elapsed();
    println!("{players} players, {kicks} kicks: the ball lies with player {last}");
    let each = time.as_nanos() / u128::from(kicks.max(1));
    eprintln!("{:.2} s, {each} ns a kick", time.as_secs_f64());
    Ok(())
}

// ---- tasks ----

fn play_with_tasks(players: usize, ball: Ball) -> Result<usize, Box<dyn Error>> {
    let ring: Arc<[Queue<Ball>]> = (0..players).map(|_| Queue::bounded(1)).collect();
    let result = Arc::new(Queue::bounded(1));
    for me in 0..players {
        let (ring, result) = (ring.clone(), result.clone());
        multitask::spawn(move || {
            for mut ball in &ring[me] {
                match ball.kick(me, ring.len()) {
                    Some(to) => ring[to].put(ball).expect("the game goes on"),
                    None => {
                        result.put(me).expect("there is one ball");
                        ring.iter().for_each(Queue::close); // everybody goes home
                    }
                }
            }
        });
    }
    ring[0].put(ball)?;
    multitask::run()?;
    Ok(result.get()?)
}

// ---- threads ----

fn play_with_threads(players: usize, ball: Ball) -> Result<usize, Box<dyn Error>> {
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..players).map(|_| sync_channel(1)).unzip();
    // A message without a ball sends its receiver home.
    let ring: Arc<[SyncSender<Option<Ball>>]> = senders.into();
    let (tell, told) = sync_channel(1);
    let mut threads = Vec::new();
    for (me, receiver) in receivers.into_iter().enumerate() {
        let (ring, tell) = (ring.clone(), tell.clone());
        threads.push(thread::Builder::new().spawn(move || {
            while let Ok(Some(mut ball)) = receiver.recv() {
                match ball.kick(me, ring.len()) {
                    Some(to) => ring[to].send(Some(ball)).expect("the game goes on"),
                    None => tell.send(me).expect("the result is waited for"),
                }
            }
        })?);
    }
    ring[0].send(Some(ball))?;
    let last = told.recv()?;
    for player in ring.iter() {
        player.send(None)?;
    }
    for thread in threads {
        thread.join().expect("players do not panic");
    }
    Ok(last)
}

// ---- the ball ----

struct Ball {
    kicks_left: u64,
    /// Never zero.
    dice: u64,
}

impl Ball {
    fn new(kicks: u64) -> Self {
        Ball {
            kicks_left: kicks,
            dice: 0x9E37_79B9_7F4A_7C15,
        }
    }

    /// To whom player `me` kicks it, anybody but himself; `None` when the game is over.
    fn kick(&mut self, me: usize, players: usize) -> Option<usize> {
        self.kicks_left = self.kicks_left.checked_sub(1)?;
        // Marsaglia's xorshift.
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        let ahead = 1 + (self.dice >> 32) as usize % (players - 1);
        Some((me + ahead) % players)
    }
}
