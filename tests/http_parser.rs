//! What the HTTP examples make of bytes, beside a plain model of it; and that it does not matter in what pieces they come.
//!
//! The model of a head works on the parts from which the bytes are put together, that of chunks on expressions; neither is a state
//! machine, and neither is ever asked about a part.

#[path = "../examples/http/mod.rs"]
#[allow(dead_code)] // here are no sockets
mod http;
#[path = "histories/http_reader.rs"]
mod http_reader;

use http::body::{Body, CHUNK_LINE, TRAILERS};
use http::intake::Intake;
use http::request::{Framing, Head, Method, HEADERS};
use http::status::Status;
use http_reader::Seen;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, Index};
use regex::bytes::Regex;
use std::sync::LazyLock;

const MAX_HEAD: usize = 1000;
const MAX_BODY: u64 = 40;

// ---- whole conversations ----

/// What is made of the pieces.
fn seen<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Seen> {
    http_reader::seen(pieces, MAX_HEAD, MAX_BODY)
}

fn cut(bytes: &[u8], mut at: Vec<usize>) -> Vec<&[u8]> {
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|ends| &bytes[ends[0]..ends[1]]).collect()
}

fn cut_anywhere<'a>(bytes: &'a [u8], at: &[Index]) -> Vec<&'a [u8]> {
    cut(
        bytes,
        at.iter().map(|at| at.index(bytes.len() + 1)).collect(),
    )
}

// ---- the model of a head ----

/// A request, in parts.
#[derive(Clone, Debug)]
struct Ask {
    method: &'static str,
    target: &'static str,
    minor: u8,
    headers: Vec<(&'static str, &'static str)>,
    chunks: Vec<Vec<u8>>,
    end_of_line: &'static str,
}

/// What should be made of it: a request, or a refusal for one of these reasons.
fn expected(ask: &Ask) -> Result<(Method, &str, bool, Framing), Vec<u16>> {
    let all = |name: &str| {
        let mine = ask
            .headers
            .iter()
            .filter(|header| header.0.to_lowercase() == name);
        mine.map(|header| header.1.trim().to_lowercase())
            .collect::<Vec<_>>()
    };
    let list = |name| {
        let joined = all(name).join(",");
        let words = joined.split(',').map(|word| word.trim().to_owned());
        words.collect::<Vec<_>>()
    };
    let mut faults = Vec::new();
    match (all("host").len(), ask.minor) {
        (1, _) | (0, 0) => {}
        _ => faults.push(400),
    }
    let method = match ask.method {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "OPTIONS" => Method::Options,
        "DELETE" => Method::Other,
        _ => {
            faults.push(501);
            Method::Other
        }
    };
    let path = match ask.target {
        "/" | "/?a=b" | "http://h" | "HTTP://h/" | "http://h?a/b" => "/",
        "/a/%2e%2e?b#c" | "http://h:80/a/%2e%2e" => "/a/%2e%2e",
        "*" if method == Method::Options => "*",
        _ => {
            faults.push(400);
            ""
        }
    };
    let (codings, lengths) = (all("transfer-encoding"), all("content-length"));
    let framing = match (codings.is_empty(), lengths.is_empty()) {
        (true, true) => Framing::Length(0),
        (true, false) => match &*list("content-length") {
            all if all.iter().all(|one| one == "3" || one == "003") => Framing::Length(3),
            all if all.iter().all(|one| one == "0") => Framing::Length(0),
            all if all.iter().all(|one| one.len() == 23) => {
                faults.push(413);
                Framing::Length(0)
            }
            _ => {
                faults.push(400);
                Framing::Length(0)
            }
        },
        (false, true) if ask.minor == 1 => match &*list("transfer-encoding") {
            [one] if one == "chunked" => Framing::Chunked,
            [others @ .., last]
                if last == "chunked"
                    && others.iter().all(|one| one != "chunked" && !one.is_empty()) =>
            {
                faults.push(501);
                Framing::Chunked
            }
            _ => {
                faults.push(400);
                Framing::Chunked
            }
        },
        _ => {
            faults.push(400);
            Framing::Chunked
        }
    };
    if all("expect").iter().any(|one| one != "100-continue") {
        faults.push(417);
    }
    if ask.headers.len() > HEADERS {
        faults = vec![431];
    }
    let words = list("connection");
    let says = |word: &str| words.iter().any(|given| given == word);
    let keep_alive = !says("close") && (ask.minor == 1 || says("keep-alive"));
    if faults.is_empty() {
        Ok((method, path, keep_alive, framing))
    } else {
        Err(faults)
    }
}

fn rendered(ask: &Ask) -> Vec<u8> {
    let eol = ask.end_of_line;
    let mut bytes = format!("{} {} HTTP/1.{}{eol}", ask.method, ask.target, ask.minor).into_bytes();
    for (name, value) in &ask.headers {
        bytes.extend(format!("{name}:{value}{eol}").bytes());
    }
    bytes.extend(eol.bytes());
    match expected(ask) {
        Ok((.., Framing::Chunked)) => {
            for chunk in &ask.chunks {
                bytes.extend(format!("{:x};note\r\n", chunk.len()).bytes());
                bytes.extend(chunk);
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"00\r\nTrailer: x\r\n\r\n");
        }
        Ok((.., Framing::Length(length))) => bytes.extend(&b"abc"[..length as usize]),
        Err(_) => {}
    }
    bytes
}

/// Mostly in order, so that most often there is more than one in a row.
fn asks() -> impl Strategy<Value = Ask> {
    let method = prop_oneof![
        6 => select(&["GET", "HEAD", "POST", "OPTIONS", "DELETE"][..]),
        1 => Just("BREW"),
    ];
    let target = prop_oneof![
        8 => select(&["/", "/?a=b", "http://h", "HTTP://h/", "/a/%2e%2e?b#c", "http://h:80/a/%2e%2e", "http://h?a/b"][..]),
        1 => select(&["*", "h:443", "?", "https://h/", "http://", "http:///a"][..]),
    ];
    let header = prop_oneof![
        10 => select(&[
            ("X-a", " b"), ("x-A", ""), ("Accept", "\t*/* "), ("Connection", " Keep-Alive"), ("Content-Type", "a/b"),
        ][..]),
        4 => select(&[
            ("Content-Length", "3"), ("content-LENGTH", " 003 "), ("Content-Length", "3, 3"), ("Transfer-Encoding", "Chunked"),
            ("transfer-encoding", " chunked\t"), ("Connection", "a , Close"), ("Expect", "100-Continue"), ("Content-Length", "0"),
        ][..]),
        1 => select(&[
            ("Host", "other"), ("Content-Length", "+3"), ("Content-Length", "3,4"), ("Content-Length", ""),
            ("Content-Length", "-3"), ("Content-Length", "0x3"), ("Content-Length", "3 3"), ("Content-Length", "3,"),
            ("Content-Length", "99999999999999999999999"), ("Transfer-Encoding", "gzip, chunked"),
            ("Transfer-Encoding", "chunked, gzip"), ("Transfer-Encoding", "chunked, chunked"), ("Transfer-Encoding", "xchunked"),
            ("Transfer-Encoding", ""), ("Transfer-Encoding", "\"chunked\""), ("Transfer-Encoding", "\u{7f}chunked"),
            ("Expect", "more"),
        ][..]),
    ];
    let headers = prop_oneof![
        30 => vec(header, 0..5),
        1 => vec(Just(("N", "1")), HEADERS - 2..HEADERS + 2),
    ];
    let chunks = vec(vec(any::<u8>(), 1..20), 0..3).prop_filter("it is short enough", |chunks| {
        chunks.concat().len() as u64 <= MAX_BODY
    });
    let minor = prop_oneof![5 => Just(1), 1 => Just(0)];
    let end_of_line = prop_oneof![5 => Just("\r\n"), 1 => Just("\n")];
    let parts = (
        method,
        target,
        minor,
        headers,
        prop::bool::weighted(0.95),
        chunks,
        end_of_line,
    );
    parts.prop_map(
        |(method, target, minor, mut headers, has_host, chunks, end_of_line)| {
            if has_host {
                headers.insert(headers.len() / 2, ("hOsT", " example.org"));
            }
            // httparse refuses control characters by itself.
            headers.retain(|header| !header.1.contains('\u{7f}'));
            Ask {
                method,
                target,
                minor,
                headers,
                chunks,
                end_of_line,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn each_request_of_a_row_is_what_the_model_makes_of_its_parts(
        asks in vec(asks(), 1..6),
        cuts in vec(any::<Index>(), 0..8),
    ) {
        let bytes = asks.iter().map(rendered).collect::<Vec<_>>().concat();
        let mut seen = seen(cut_anywhere(&bytes, &cuts)).into_iter();
        for ask in &asks {
            let found = seen.next();
            match expected(ask) {
                Ok((method, path, keep_alive, framing)) => {
                    let Some(Seen::Request(head, body)) = found else {
                        panic!("{found:?} of {ask:?}");
                    };
                    let told = (head.method, &*head.path, head.keep_alive, head.framing);
                    prop_assert_eq!(told, (method, path, keep_alive, framing));
                    prop_assert_eq!(head.is_old, ask.minor == 0);
                    let is_chunked = framing == Framing::Chunked;
                    let content = if is_chunked { ask.chunks.concat() } else { b"abc".to_vec() };
                    prop_assert_eq!(body, if framing == Framing::NO_BODY { Vec::new() } else { content });
                }
                Err(faults) => {
                    let Some(Seen::Refused(status)) = found else {
                        panic!("{found:?} of {ask:?}");
                    };
                    prop_assert!(faults.contains(&status), "{} of {:?}", status, ask);
                    break; // nothing is made of the rest
                }
            }
        }
        prop_assert_eq!(seen.next(), None);
    }

    #[test]
    fn whatever_comes_means_the_same_in_whatever_pieces_it_comes(
        asks in vec(asks(), 1..4),
        damage in vec((any::<Index>(), 0..3_usize, damages()), 0..4),
        cuts in vec(any::<Index>(), 0..8),
    ) {
        let mut bytes = asks.iter().map(rendered).collect::<Vec<_>>().concat();
        for (at, how, with) in damage {
            let at = at.index(bytes.len() + 1);
            let until = bytes.len().min(at + how * with.len());
            bytes.splice(at..until, with.bytes()); // put in, or over
        }
        let whole = seen([&*bytes]);
        prop_assert_eq!(&seen(bytes.chunks(1)), &whole, "byte by byte");
        prop_assert_eq!(&seen(cut_anywhere(&bytes, &cuts)), &whole, "cut");
    }

    #[test]
    fn garbage_is_refused_or_unfinished_and_means_the_same_in_pieces(bytes in vec(any::<u8>(), 0..200)) {
        let whole = seen([&*bytes]);
        prop_assert!(whole.iter().all(|seen| !matches!(seen, Seen::Request(..))), "{:?}", whole);
        prop_assert_eq!(seen(bytes.chunks(1)), whole);
    }
}

fn damages() -> impl Strategy<Value = &'static str> {
    select(
        &[
            "\r",
            "\n",
            "\r\n",
            "\r\n\r\n",
            " ",
            "\t",
            "\0",
            ":",
            ",",
            ";",
            "0",
            "f",
            "ffffffffffffffffffff",
            "GET / HTTP/1.1",
            "Transfer-Encoding: chunked\r\n",
            "Content-Length: 5\r\n",
            "HTTP/2.0",
            "\u{e9}",
            "\u{7f}",
            "",
        ][..],
    )
}

#[test]
fn a_row_of_requests_means_the_same_wherever_it_is_cut_in_two() {
    let row =
        "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
               GET /b HTTP/1.1\r\nHost: h\r\n\r\n\
               POST /c HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabcde\r\n\
               GET /d HTTP/1.0\r\n\r\nand";
    let whole = seen([row.as_bytes()]);
    let read = |seen: &Seen| match seen {
        Seen::Request(head, body) => format!("{} {}", head.path, String::from_utf8_lossy(body)),
        other => format!("{other:?}"),
    };
    let told: Vec<_> = whole.iter().map(read).collect();
    assert_eq!(told, ["/a abc", "/b ", "/c abcde", "/d ", "Unfinished"]);
    for at in 0..=row.len() {
        assert_eq!(seen(cut(row.as_bytes(), vec![at])), whole, "cut at {at}");
    }
}

#[test]
fn a_head_has_as_many_bytes_as_it_may_and_not_one_more() {
    let head = |length: usize| {
        let begin = "GET / HTTP/1.1\r\nHost: h\r\nX: ";
        let filler = "x".repeat(length - begin.len() - 4);
        format!("{begin}{filler}\r\n\r\n").into_bytes()
    };
    assert!(matches!(&*seen([&*head(MAX_HEAD)]), [Seen::Request(..)]));
    for pieces in [MAX_HEAD + 1, 7] {
        let long = head(MAX_HEAD + 1);
        assert_eq!(seen(long.chunks(pieces)), [Seen::Refused(431)]);
    }
    let target = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(MAX_HEAD)).into_bytes();
    assert_eq!(seen([&*target]), [Seen::Refused(414)]);
    assert_eq!(seen(target.chunks(1)), [Seen::Refused(414)]);
}

#[test]
fn a_version_that_is_none_of_ours_is_refused_as_such() {
    for version in ["HTTP/2.0", "HTTP/1.2", "HTTP/9.9"] {
        let head = format!("GET / {version}\r\nHost: h\r\n\r\n").into_bytes();
        assert_eq!(seen([&*head]), [Seen::Refused(505)], "{version}");
    }
}

#[test]
fn headers_that_are_cut_unlike_by_others_are_refused() {
    for header in [
        "Host : h",
        "Host: h\r\n folded: x",
        " Host: h",
        "Ho st: h",
        "Host: h\0",
        ": h",
        "Host",
    ] {
        let head = format!("GET / HTTP/1.1\r\n{header}\r\n\r\n").into_bytes();
        assert_eq!(seen([&*head]), [Seen::Refused(400)], "{header:?}");
    }
}

// ---- the model of chunks ----

/// What is made of a body in chunks: its content and its length, `None` if it goes on.
type Decoded = Result<Option<(Vec<u8>, usize)>, u16>;

fn decoded<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Decoded {
    let mut body = Body::new(Framing::Chunked, MAX_BODY).unwrap();
    let (mut content, mut used) = (Vec::new(), 0);
    for piece in pieces {
        used += body
            .decode(piece, &mut content)
            .map_err(|status| status.0)?;
    }
    Ok(body.is_done().then_some((content, used)))
}

/// By the grammar, of all of it.
fn model(bytes: &[u8]) -> Decoded {
    static LINE: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?-u)^([0-9a-fA-F]{1,16})([;\x20\t][\t\x20-\x7e\x80-\xff]*)?\r\n").unwrap()
    });
    static PART: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?-u)^([0-9a-fA-F]{1,16}([;\x20\t][\t\x20-\x7e\x80-\xff]*)?\r?)?$").unwrap()
    });
    static TRAILER: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"(?-u)^([\t\x20-\x7e\x80-\xff]+\r\n)*\r\n").unwrap());
    static TRAILER_PART: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?-u)^([\t\x20-\x7e\x80-\xff]+\r\n)*([\t\x20-\x7e\x80-\xff]*\r?)?$").unwrap()
    });
    let partly = |fits: bool| if fits { Ok(None) } else { Err(400) };
    let (mut content, mut rest) = (Vec::new(), bytes);
    loop {
        let Some(line) = LINE.captures(rest) else {
            return partly(PART.is_match(rest));
        };
        let digits = std::str::from_utf8(&line[1]).unwrap();
        let size = u64::from_str_radix(digits, 16).unwrap();
        rest = &rest[line[0].len()..];
        if size == 0 {
            return match TRAILER.find(rest) {
                Some(end) => Ok(Some((content, bytes.len() - rest.len() + end.end()))),
                None => partly(TRAILER_PART.is_match(rest)),
            };
        }
        if size > MAX_BODY - content.len() as u64 {
            return Err(413);
        }
        let size = size as usize;
        if rest.len() < size + 2 {
            return partly(rest.len() <= size || rest[size] == b'\r');
        }
        content.extend(&rest[..size]);
        if &rest[size..size + 2] != b"\r\n" {
            return Err(400);
        }
        rest = &rest[size + 2..];
    }
}

/// Pieces of which many a body can be made, right ones and others.
fn scraps() -> impl Strategy<Value = Vec<u8>> {
    let scrap = prop_oneof![
        4 => (1..12_usize).prop_map(|size| {
            let mut chunk = format!("{size:X}\r\n").into_bytes();
            chunk.extend(vec![b'\r'; size]); // which could be taken for something else
            chunk.extend(b"\r\n");
            chunk
        }),
        2 => select(&["0\r\n\r\n", "0;x\r\nA: b\r\n\r\n", "00 \t\r\n", "1;\u{e9}=\"x\"\r\nz\r\n"][..]).prop_map(|text| text.into()),
        1 => select(&[
            "\r", "\n", "\r\n", "0", "3", "f", "F0", ";", " ", "\t", "x", "-1", "+1", "0x1", "\0", "10000000000000000",
            "fffffffffffffffff", "ffffffffffffffff\r\n", "\u{7f}", "abc",
        ][..]).prop_map(|text| text.into()),
        1 => select(&[
            // Ends of lines that are none.
            "0\n\r\n", "0\r\n\n", "0\n\n", "1\nx\r\n", "1\r\nx\n", "1\r\nx\r", "1\rx\r\n", "1;a\nx\r\n", "0\r\nA: b\n\r\n", "0\r\nA: b\r\r\n",
        ][..]).prop_map(|text| text.into()),
    ];
    vec(scrap, 0..8).prop_map(|scraps| scraps.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn chunks_are_what_the_grammar_says_in_whatever_pieces_they_come(
        bytes in scraps(),
        cuts in vec(any::<Index>(), 0..6),
    ) {
        let expected = model(&bytes);
        prop_assert_eq!(&decoded([&*bytes]), &expected, "whole");
        prop_assert_eq!(&decoded(bytes.chunks(1)), &expected, "byte by byte");
        prop_assert_eq!(&decoded(cut_anywhere(&bytes, &cuts)), &expected, "cut");
    }
}

#[test]
fn what_is_read_over_has_an_end() {
    let line =
        |length: usize| format!("1;{}\r\nx\r\n0\r\n\r\n", "n".repeat(length - 2)).into_bytes();
    assert!(matches!(decoded([&*line(CHUNK_LINE)]), Ok(Some(_))));
    assert_eq!(decoded([&*line(CHUNK_LINE + 1)]), Err(400));
    let trailers =
        |length: usize| format!("0\r\nA:{}\r\n\r\n", "n".repeat(length - 2)).into_bytes();
    assert!(matches!(decoded([&*trailers(TRAILERS)]), Ok(Some(_))));
    assert_eq!(decoded([&*trailers(TRAILERS + 1)]), Err(431));
}
