//! `AsyncRead` and `AsyncWrite` of our streams, by adapters of the `futures` crate, in tasks and on executors of others.

mod common;

use common::futures::{poll, Calls};
use common::{ends, everywhere, scheduler, settle};
use futures::executor::ThreadPool;
use futures::future::{join_all, select, Either};
use futures::stream::{FuturesUnordered, StreamExt};
use futures::task::SpawnExt;
use futures::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use multitask::future::{block_on, block_on_timeout};
use multitask::io::{pipe, PipeReader, PipeWriter};
use multitask::net::{TcpListener, TcpStream};
use multitask::os::unix::net::UnixStream;
use multitask::process::{Command, Stdio};
use multitask::{spawn, Scheduler, Timeout};
use std::io::ErrorKind;
use std::pin::pin;
use std::thread;
use std::time::Duration;

fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let one = TcpStream::connect(addr).unwrap();
    (one, listener.accept().unwrap().0)
}

/// More than a socket or a pipe holds.
fn much() -> Vec<u8> {
    (0..4_000_000u32).map(|n| (n % 251) as u8).collect()
}

#[test]
fn bytes_go_both_ways_through_one_stream_at_a_time() {
    everywhere(|| {
        let (one, other) = tcp();
        let sent = much();
        let read = block_on(async {
            let writes = async {
                (&one).write_all(&sent).await.unwrap();
                (&one).close().await.unwrap();
            };
            let echoes = async {
                let (from, mut to) = (&other, &other);
                futures::io::copy(from, &mut to).await.unwrap();
                (&other).close().await.unwrap();
            };
            let mut back = Vec::new();
            let reads = async { (&one).read_to_end(&mut back).await.unwrap() };
            futures::join!(writes, echoes, reads);
            back
        });
        assert!(read == sent);
    });
}

#[test]
fn every_kind_of_stream_is_read_and_written() {
    everywhere(|| {
        let sent = much();
        block_on(async {
            let (one, mut other) = UnixStream::pair().unwrap();
            let mut back = Vec::new();
            let writes = async {
                (&one).write_all(&sent).await.unwrap();
                (&one).close().await.unwrap();
            };
            let (_, read) = futures::join!(writes, other.read_to_end(&mut back));
            read.unwrap();
            assert!(back == sent);

            let (mut reader, mut writer): (PipeReader, PipeWriter) = pipe().unwrap();
            back.clear();
            let writes = async {
                writer.write_all(&sent).await.unwrap();
                drop(writer);
            };
            let (_, read) = futures::join!(writes, reader.read_to_end(&mut back));
            read.unwrap();
            assert!(back == sent);
        });
        let mut command = Command::new("cat");
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut back = Vec::new();
        block_on(async {
            let writes = async {
                stdin.write_all(&sent).await.unwrap();
                drop(stdin);
            };
            let (_, read) = futures::join!(writes, stdout.read_to_end(&mut back));
            read.unwrap();
        });
        assert!(back == sent);
        assert!(child.wait().unwrap().success());
    });
}

#[test]
fn lines_are_read_through_an_adapter() {
    everywhere(|| {
        let (one, other) = UnixStream::pair().unwrap();
        let writer = spawn(move || {
            std::io::Write::write_all(&mut &one, b"first\nsecond\n").unwrap();
        });
        let lines: Vec<_> = block_on(futures::io::BufReader::new(other).lines().collect());
        let lines: Vec<_> = lines.into_iter().map(Result::unwrap).collect();
        assert_eq!(lines, ["first", "second"]);
        writer.join().unwrap();
    });
}

#[test]
fn a_stream_is_read_by_an_executor_of_others() {
    ends(|| {
        let pool = ThreadPool::builder().pool_size(2).create().unwrap();
        let streams: Vec<_> = (0..20).map(|_| UnixStream::pair().unwrap()).collect();
        let (ours, theirs): (Vec<_>, Vec<_>) = streams.into_iter().unzip();
        for mut stream in theirs {
            pool.spawn(async move {
                let mut word = [0; 4];
                while stream.read_exact(&mut word).await.is_ok() {
                    stream.write_all(&word).await.unwrap();
                }
            })
            .unwrap();
        }
        let scheduler = scheduler();
        for mut stream in ours {
            scheduler.spawn(move || {
                for n in 0..50u32 {
                    std::io::Write::write_all(&mut stream, &n.to_le_bytes()).unwrap();
                    let mut back = [0; 4];
                    std::io::Read::read_exact(&mut stream, &mut back).unwrap();
                    assert_eq!(u32::from_le_bytes(back), n);
                }
            });
        }
        scheduler.run().unwrap();
    });
}

#[test]
fn a_stream_is_read_through_wakers_of_others_in_a_task() {
    ends(|| {
        let scheduler = scheduler();
        let sum = scheduler.block_on(|| {
            let (ours, theirs): (Vec<_>, Vec<_>) =
                (0..30).map(|_| UnixStream::pair().unwrap()).unzip();
            for (n, mut stream) in (0..).zip(theirs) {
                spawn(move || std::io::Write::write_all(&mut stream, &[n]).unwrap());
            }
            // It gives wakers of its own to what is in it.
            let mut reads: FuturesUnordered<_> = ours
                .into_iter()
                .map(|mut stream| async move {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).await.unwrap();
                    u32::from(byte[0])
                })
                .collect();
            block_on(async {
                let mut sum = 0;
                while let Some(n) = reads.next().await {
                    sum += n;
                }
                sum
            })
        });
        assert_eq!(sum, 29 * 30 / 2);
    });
}

#[test]
fn the_first_of_two_streams_is_taken_and_the_other_is_read_later() {
    everywhere(|| {
        let ((mut one, mut two), (first, second)) =
            (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
        let (mut a, mut b) = ([0; 1], [0; 1]);
        std::io::Write::write_all(&mut two, b"1").unwrap();
        let mut first_end = &first;
        let chosen = block_on(async {
            match select(one.read_exact(&mut a), first_end.read_exact(&mut b)).await {
                Either::Left((read, _)) => read.map(|()| "one"),
                Either::Right((read, _)) => read.map(|()| "two"),
            }
        });
        assert_eq!(chosen.unwrap(), "one");
        std::io::Write::write_all(&mut &second, b"2").unwrap();
        block_on(first_end.read_exact(&mut b)).unwrap();
        assert_eq!((a, b), (*b"1", *b"2"));
        block_on(two.close()).unwrap();
        assert_eq!(block_on(one.read(&mut a)).unwrap(), 0);
    });
}

#[test]
fn a_read_that_is_given_up_takes_nothing() {
    everywhere(|| {
        let (mut one, mut other) = UnixStream::pair().unwrap();
        let mut word = [0; 4];
        for _ in 0..3 {
            let late = block_on_timeout(one.read(&mut word), Duration::from_millis(1));
            assert!(matches!(late, Err(Timeout)));
        }
        std::io::Write::write_all(&mut other, b"word").unwrap();
        assert_eq!(block_on(one.read(&mut word)).unwrap(), 4);
        assert_eq!(&word, b"word");
    });
}

#[test]
fn a_stream_keeps_one_waker_for_each_direction_and_none_beyond_its_end() {
    let (mut one, other) = UnixStream::pair().unwrap();
    let (first, first_waker) = Calls::new();
    let (second, second_waker) = Calls::new();
    let mut byte = [0];
    assert!(poll(pin!(one.read(&mut byte)), &first_waker).is_pending());
    assert!(poll(pin!(one.read(&mut byte)), &first_waker).is_pending());
    assert!(first.are_kept());
    assert_eq!(first.count(), 0, "it has not come in its own way");
    assert!(poll(pin!(one.read(&mut byte)), &second_waker).is_pending());
    assert!(!first.are_kept() && second.are_kept());
    assert_eq!(first.count(), 1, "the one before is told");
    drop(one);
    assert!(!second.are_kept());
    drop(other);
}

#[test]
fn an_event_calls_the_waker_once_and_lets_it_go() {
    ends(|| {
        let (mut one, mut other) = UnixStream::pair().unwrap();
        let (calls, waker) = Calls::new();
        let mut byte = [0];
        assert!(poll(pin!(one.read(&mut byte)), &waker).is_pending());
        std::io::Write::write_all(&mut other, b"x").unwrap();
        while calls.count() == 0 || calls.are_kept() {
            thread::yield_now();
        }
        assert!(poll(pin!(one.read(&mut byte)), &waker).is_ready());
        assert_eq!((calls.count(), byte), (1, *b"x"));
    });
}

#[test]
fn what_goes_wrong_is_told() {
    everywhere(|| {
        let (one, other) = UnixStream::pair().unwrap();
        drop(other);
        let error = block_on(async { (&one).write_all(b"to nobody").await });
        assert_eq!(error.unwrap_err().kind(), ErrorKind::BrokenPipe);
        let (mut reader, writer) = pipe().unwrap();
        drop(writer);
        assert_eq!(block_on(reader.read(&mut [0])).unwrap(), 0);
    });
}

#[test]
fn a_future_that_always_has_something_to_read_lets_other_tasks_run() {
    let scheduler = Scheduler::new().unwrap();
    let (mut one, mut other) = UnixStream::pair().unwrap();
    std::io::Write::write_all(&mut other, &[7; 2000]).unwrap();
    let reads = scheduler.spawn(move || {
        block_on(async {
            let mut byte = [0];
            for _ in 0..2000 {
                one.read_exact(&mut byte).await.unwrap();
            }
        })
    });
    let quick = scheduler.spawn(|| ());
    while !quick.is_finished() {
        scheduler.turn(Some(Duration::ZERO)).unwrap();
    }
    assert!(!reads.is_finished());
    settle(&scheduler);
    assert!(reads.is_finished());
}

#[test]
fn many_streams_of_many_tasks() {
    ends(|| {
        let scheduler = scheduler();
        for n in 0..200u8 {
            scheduler.spawn(move || {
                let (mut one, mut other) = UnixStream::pair().unwrap();
                spawn(move || {
                    block_on(async {
                        let mut word = [0; 8];
                        other.read_exact(&mut word).await.unwrap();
                        other.write_all(&word).await.unwrap();
                    })
                });
                block_on(async {
                    one.write_all(&[n; 8]).await.unwrap();
                    let mut word = [0; 8];
                    one.read_exact(&mut word).await.unwrap();
                    assert_eq!(word, [n; 8]);
                    join_all((0..3).map(|n| async move { n })).await
                });
            });
        }
        scheduler.run().unwrap();
    });
}
