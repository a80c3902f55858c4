//! The DNS forwarder between `dig` and a server that says what the test wants it to, and among datagrams that mean no good.
//!
//! `cargo test` builds the example beside this test. The rules of `programs` hold.

mod programs;

use hickory_proto::op::{Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use programs::{is_installed, text, Program, Server, PATIENCE};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::process::Command;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;

// ---- dig ----

#[test]
fn dig_is_answered_from_upstream_once_and_then_from_the_cache() {
    if !is_installed("dig", "bind9-dnsutils") {
        return;
    }
    let (upstream, forwarder) = pair(&[]);
    for name in ["plain.test", "plain.test", "PLAIN.test"] {
        assert_eq!(forwarder.dig(&["+short", name]), "192.0.2.1\n");
    }
    assert_eq!(upstream.times("plain.test."), 1);
    assert_eq!(
        forwarder.dig(&["+short", "+tcp", "plain.test"]),
        "192.0.2.1\n"
    );
    assert_eq!(
        forwarder.dig(&["+short", "+noedns", "plain.test"]),
        "192.0.2.1\n"
    );
    let other = forwarder.dig(&["plain.test", "MX"]);
    assert!(
        other.contains("NOERROR") && other.contains("ANSWER: 0"),
        "{other}"
    );
    assert_eq!(
        upstream.times("plain.test."),
        2,
        "another type is another question"
    );
    assert_eq!(
        forwarder.server.end("TERM"),
        ("answered 6, 4 of them from the cache\n".into(), "".into())
    );
}

#[test]
fn that_there_is_nothing_is_remembered_and_what_failed_is_not() {
    if !is_installed("dig", "bind9-dnsutils") {
        return;
    }
    let (upstream, forwarder) = pair(&[]);
    for (name, status, asked) in [
        ("nothing.test", "NXDOMAIN", 1),
        ("broken.test", "SERVFAIL", 2),
    ] {
        for _ in 0..2 {
            let said = forwarder.dig(&[name]);
            assert!(said.contains(&format!("status: {status}")), "{said}");
        }
        assert_eq!(upstream.times(&format!("{name}.")), asked);
    }
}

#[test]
fn an_answer_is_asked_for_again_when_its_time_is_up_and_the_oldest_makes_room() {
    if !is_installed("dig", "bind9-dnsutils") {
        return;
    }
    let (upstream, forwarder) = pair(&["--max-cached", "2"]);
    while upstream.times("brief.test.") < 2 {
        assert_eq!(forwarder.dig(&["+short", "brief.test"]), "192.0.2.1\n");
    }
    for name in [
        "one.test",
        "two.test",
        "three.test",
        "one.test",
        "three.test",
    ] {
        forwarder.dig(&[name]);
    }
    let times = ["one.test.", "two.test.", "three.test."].map(|name| upstream.times(name));
    assert_eq!(times, [2, 1, 1]);
}

#[test]
fn what_is_lost_is_asked_for_again_and_what_never_comes_fails() {
    if !is_installed("dig", "bind9-dnsutils") {
        return;
    }
    let (upstream, forwarder) = pair(&["--timeout", "0.3"]);
    assert_eq!(forwarder.dig(&["+short", "lost.test"]), "192.0.2.1\n");
    assert!(upstream.times("lost.test.") >= 3);
    let said = forwarder.dig(&["never.test"]);
    assert!(said.contains("status: SERVFAIL"), "{said}");
    assert_eq!(upstream.times("never.test."), 3);
}

#[test]
fn what_does_not_answer_the_question_is_not_listened_to() {
    if !is_installed("dig", "bind9-dnsutils") {
        return;
    }
    let (_upstream, forwarder) = pair(&[]);
    assert_eq!(forwarder.dig(&["+short", "forged.test"]), "192.0.2.1\n");
}

#[test]
fn an_answer_too_long_for_a_datagram_comes_over_tcp() {
    if !is_installed("dig", "bind9-dnsutils") {
        return;
    }
    let (upstream, forwarder) = pair(&[]);
    let cut = forwarder.dig(&["+ignore", "long.test"]);
    assert!(cut.contains("flags: qr tc rd ra"), "{cut}");
    let whole = forwarder.dig(&["+short", "long.test"]);
    assert_eq!(whole.lines().count(), 200);
    assert_eq!(upstream.times("long.test."), 2, "once by UDP, once by TCP");
}

// ---- datagrams by hand ----

#[test]
fn garbage_is_refused_or_passed_over_and_others_are_served() {
    let (upstream, forwarder) = pair(&[]);
    let client = forwarder.client();
    let good = question(7, "plain.test.");
    let mut refused = Vec::new();
    // Cut short: from the header on, that can be told to whoever asks.
    for length in 0..good.len() {
        client.send(&good[..length]).unwrap();
        refused.extend((length >= 12).then_some(7));
    }
    let head = |id: u8| [&[0, id][..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    for (id, name) in [
        (8, &b"\xc0\x0c\0\x01\0\x01"[..]), // points to itself
        (9, b"\x01a\xc0\x0c\0\x01\0\x01"),
        (10, b"\xc0\x0e\xc0\x0c\0\x01\0\x01"), // forward, and back
        (11, b"\xff\xff\xff"),
        (12, &[63; 300]),
    ] {
        client.send(&[&head(id), name].concat()).unwrap();
        refused.push(id.into());
    }
    let mut answer = good.clone();
    answer[2] |= 0x80; // an answer is not answered
    client.send(&answer).unwrap();
    client.send(&[0xff; 5000]).unwrap();
    let mut heard: Vec<u16> = (0..refused.len())
        .map(|_| {
            let answer = hear(&client);
            assert_eq!(answer.metadata.response_code, ResponseCode::FormErr);
            answer.metadata.id
        })
        .collect();
    heard.sort();
    assert_eq!(heard, refused);

    let two = Message::from_vec(&good).map(|mut message| {
        message.add_query(message.queries[0].clone());
        message.to_vec().unwrap()
    });
    client.send(&two.unwrap()).unwrap();
    assert_eq!(hear(&client).metadata.response_code, ResponseCode::FormErr);
    let mut update = good.clone();
    update[2] |= 5 << 3;
    client.send(&update).unwrap();
    assert_ne!(hear(&client).metadata.response_code, ResponseCode::NoError);
    assert_eq!(upstream.all(), 0, "nothing of it was asked");

    client.send(&good).unwrap();
    let answer = hear(&client);
    assert_eq!((answer.metadata.id, answer.answers.len()), (7, 1));
    assert_eq!(forwarder.server.end("TERM").1, "");
}

#[test]
fn a_question_too_many_is_dropped_and_that_is_said() {
    let (upstream, mut forwarder) = pair(&["--max-questions", "1", "--timeout", "60"]);
    let client = forwarder.client();
    client.send(&question(1, "held.test.")).unwrap();
    upstream.held.recv_timeout(PATIENCE).unwrap();
    client.send(&question(2, "plain.test.")).unwrap();
    let complaint = forwarder.server.complaint();
    assert_eq!(complaint, "too many questions: some are dropped\n");
    upstream.release.send(()).unwrap();
    assert_eq!(hear(&client).metadata.id, 1);
    client.send(&question(3, "plain.test.")).unwrap();
    assert_eq!(hear(&client).metadata.id, 3);
}

// ---- both ends ----

/// A server that says what its names mean, and counts.
struct Upstream {
    addr: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    /// Told when `held.test` is asked for, which is answered upon `release`.
    held: Receiver<()>,
    release: Sender<()>,
}

impl Upstream {
    fn start() -> Upstream {
        // One port for both, which may take a few tries.
        let (socket, listener) = std::iter::repeat_with(|| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let listener = TcpListener::bind(socket.local_addr().unwrap());
            Some((socket, listener.ok()?))
        })
        .find_map(|both| both)
        .unwrap();
        let addr = socket.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (holds, held) = mpsc::channel();
        let (release, released) = mpsc::channel();
        let counted = asked.clone();
        thread::spawn(move || {
            let mut buf = [0; 4096];
            loop {
                let (length, peer) = socket.recv_from(&mut buf).unwrap();
                let question = Message::from_vec(&buf[..length]).unwrap();
                let name = question.queries[0].name.to_string().to_lowercase();
                counted.lock().unwrap().push(name.clone());
                let times = counted
                    .lock()
                    .unwrap()
                    .iter()
                    .filter(|one| **one == name)
                    .count();
                let mut answer = answer_to(&question, &name);
                match &*name {
                    "never.test." => continue,
                    "lost.test." if times < 3 => continue,
                    "held.test." => {
                        holds.send(()).unwrap();
                        let _ended = released.recv();
                    }
                    "long.test." => {
                        answer.answers.clear();
                        answer.metadata.truncation = true;
                    }
                    "forged.test." => {
                        for forged in forgeries(&answer) {
                            socket.send_to(&forged, peer).unwrap();
                        }
                    }
                    _ => {}
                }
                socket.send_to(&answer.to_vec().unwrap(), peer).unwrap();
            }
        });
        let counted = asked.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut length = [0; 2];
                stream.read_exact(&mut length).unwrap();
                let mut question = vec![0; u16::from_be_bytes(length).into()];
                stream.read_exact(&mut question).unwrap();
                let question = Message::from_vec(&question).unwrap();
                let name = question.queries[0].name.to_string();
                let answer = answer_to(&question, &name).to_vec().unwrap();
                counted.lock().unwrap().push(name);
                let length = (answer.len() as u16).to_be_bytes();
                stream.write_all(&[&length[..], &answer].concat()).unwrap();
            }
        });
        Upstream {
            addr,
            asked,
            held,
            release,
        }
    }

    fn times(&self, name: &str) -> usize {
        self.asked
            .lock()
            .unwrap()
            .iter()
            .filter(|one| *one == name)
            .count()
    }

    fn all(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn answer_to(question: &Message, name: &str) -> Message {
    let mut answer = question.clone().into_response();
    let owner = question.queries[0].name.clone();
    let ttl = match name {
        "brief.test." => 1,
        "one.test." => 100,
        "two.test." => 200,
        _ => 300,
    };
    let address = |n: u8| Record::from_rdata(owner.clone(), ttl, RData::A(A::new(192, 0, 2, n)));
    match name {
        "nothing.test." => {
            let zone: Name = "test.".parse().unwrap();
            let soa = SOA::new(zone.clone(), zone.clone(), 1, 1, 1, 1, 300);
            answer.metadata.response_code = ResponseCode::NXDomain;
            answer.add_authority(Record::from_rdata(zone, 300, RData::SOA(soa)));
        }
        "broken.test." => answer.metadata.response_code = ResponseCode::ServFail,
        "long.test." => {
            answer.add_answers((0..200).map(address));
        }
        _ if question.queries[0].query_type == RecordType::A => {
            answer.add_answer(address(1));
        }
        _ => {}
    }
    answer
}

/// What somebody sends who does not know the question, or means no good.
fn forgeries(answer: &Message) -> Vec<Vec<u8>> {
    let owner = answer.queries[0].name.clone();
    let mut forged = answer.clone();
    forged.answers = vec![Record::from_rdata(
        owner,
        300,
        RData::A(A::new(203, 0, 113, 1)),
    )];
    let change = |change: &dyn Fn(&mut Message)| {
        let mut forged = forged.clone();
        change(&mut forged);
        forged.to_vec().unwrap()
    };
    let other: Name = "other.test.".parse().unwrap();
    let right = change(&|_| {});
    vec![
        change(&|message| message.metadata.id ^= 1),
        change(&|message| message.queries[0].name = other.clone()),
        change(&|message| message.queries.clear()),
        change(&|message| message.metadata.message_type = MessageType::Query),
        right[..right.len() - 1].to_vec(),
        [&right[..12], b"\xc0\x0c\0\x01\0\x01"].concat(),
        b"what?".to_vec(),
        Vec::new(),
    ]
}

struct Forwarder {
    server: Server,
}

fn pair(options: &[&str]) -> (Upstream, Forwarder) {
    let upstream = Upstream::start();
    let addr = upstream.addr.to_string();
    let options = [&["--upstream", &addr], options].concat();
    let server = Server::started("dns_forwarder", &options, &["127.0.0.1:0"]);
    (upstream, Forwarder { server })
}

impl Forwarder {
    #[track_caller]
    fn dig(&self, args: &[&str]) -> String {
        let port = self.server.addr.rsplit(':').next().unwrap();
        let fixed = ["@127.0.0.1", "-p", port, "+tries=1", "+time=60"];
        let output = Program::from(Command::new("dig").args(fixed).args(args)).finish();
        assert!(output.status.success(), "{args:?}: {output:?}");
        text(&output.stdout).to_owned()
    }

    fn client(&self) -> UdpSocket {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(&self.server.addr).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client
    }
}

fn question(id: u16, name: &str) -> Vec<u8> {
    let mut question = Message::query();
    question.metadata.id = id;
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(name.parse().unwrap(), RecordType::A));
    question.to_vec().unwrap()
}

#[track_caller]
fn hear(client: &UdpSocket) -> Message {
    let mut buf = [0; 4096];
    let length = client.recv(&mut buf).unwrap();
    Message::from_vec(&buf[..length]).unwrap()
}
