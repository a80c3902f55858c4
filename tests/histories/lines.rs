//! Lines, as `examples/line_chat.rs` reads them, of what comes in pieces of any size, to a reader with a buffer of any size.

use super::Dice;
use multitask::os::unix::net::UnixStream;
use multitask::{spawn_local, yield_now, Scheduler};
use std::io::{BufReader, ErrorKind, Write};

#[path = "../../examples/line_chat.rs"]
#[allow(dead_code)] // but for the lines
mod line_chat;

/// Sends what `bytes` say in pieces as they say, and panics unless the lines that arrive are those that were sent.
pub fn run(bytes: &[u8]) {
    let mut dice = Dice::new(bytes);
    let buffer = 1 + dice.below(64);
    let repeat = [1, 1, 1, 100][dice.below(4)];
    let pieces = Vec::from_iter((0..1 + dice.below(16)).map(|_| 1 + dice.below(100)));
    let max = [10, 100, 4096][dice.below(3)];
    let text = dice.rest().repeat(repeat);
    let expected = lines_of(&text, max);

    let scheduler = Scheduler::new().unwrap();
    let got = scheduler.block_on(move || {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let sender = spawn_local(move || {
            let mut left = &*text;
            for piece in pieces.iter().cycle() {
                let (piece, rest) = left.split_at(left.len().min(*piece));
                // Who has seen a line that is too long reads no more.
                if left.is_empty() || ours.write_all(piece).is_err() {
                    break;
                }
                yield_now();
                left = rest;
            }
        });
        let mut reader = BufReader::with_capacity(buffer, theirs);
        let next = || match line_chat::next_line(&mut reader, max) {
            Ok(line) => line.map(Some),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::InvalidData);
                Some(None)
            }
        };
        let got = until_too_long(std::iter::from_fn(next));
        drop(reader);
        sender.join().unwrap();
        got
    });
    assert_eq!(got, expected);
}

/// The lines; `None`, which is the last, for one that is too long.
fn until_too_long(lines: impl Iterator<Item = Option<String>>) -> Vec<Option<String>> {
    let mut over = false;
    Vec::from_iter(lines.take_while(|line| !std::mem::replace(&mut over, line.is_none())))
}

/// The same, of all of it, byte by byte.
fn lines_of(text: &[u8], max: usize) -> Vec<Option<String>> {
    let mut lines = vec![Vec::new()];
    for &byte in text {
        let line = lines.last_mut().unwrap();
        line.push(byte);
        if byte == b'\n' {
            lines.push(Vec::new());
        }
    }
    if lines.last().is_some_and(Vec::is_empty) {
        lines.pop();
    }
    let shown = |line: Vec<u8>| {
        let text = String::from_utf8_lossy(&line);
        let text = text.replace(char::is_control, "");
        (line.len() <= max).then(|| text.trim_end().to_owned())
    };
    until_too_long(lines.into_iter().map(shown))
}
