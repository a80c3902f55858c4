//! Requests, as the HTTP examples read them, of what comes in pieces of any size, under limits of any size.
//!
//! The model has all bytes at once. It cuts them at the ends of lines, and each line at its spaces and colons; it never goes on from where
//! it was. Of a head with several faults it does not say which is told.

use super::Dice;
use std::time::SystemTime;

#[path = "../../examples/http/body.rs"]
mod body;
#[path = "http_reader.rs"]
mod http_reader;
#[path = "../../examples/http/intake.rs"]
mod intake;
#[path = "../../examples/http/request.rs"]
mod request;
#[path = "../../examples/http/status.rs"]
#[allow(dead_code)] // not all are of parsing
mod status;

use body::{Body, CHUNK_LINE, TRAILERS};
use http_reader::{seen, Seen};
use intake::Intake;
use request::{Framing, Head, Method, HEADERS};
use status::Status;

/// Of more than that nothing new is learnt.
const MAX_TEXT: usize = 20_000;

/// What a byte stands for that is not ASCII. Of the first eight many a row of requests can be made.
const WORDS: [&[u8]; 52] = [
    b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: h\r\n",
    b"3\r\nabc\r\n",
    b"0\r\n\r\n",
    b"00;x\r\nA: b\r\n\r\n",
    b"a \r\n0123456789\r\n",
    b"\r\n",
    b"\r\n\r\n",
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"OPTIONS ",
    b"DELETE ",
    b"* ",
    b"/a?b#c",
    b"http://",
    b"HTTP://h",
    b"https://h/",
    b" HTTP/1.1\r\n",
    b" HTTP/1.0\n",
    b" HTTP/2.0\r\n",
    b"Host: h\r\n",
    b"Host",
    b"content-length",
    b"Transfer-Encoding",
    b"Connection",
    b"Expect",
    b"If-Modified-Since",
    b": ",
    b":\t",
    b", ",
    b"chunked",
    b"close",
    b"Keep-Alive",
    b"100-continue",
    b"Sun, 06 Nov 1994 08:49:37 GMT",
    b"N: 1\r\n",
    b"Content-Length: 3\r\n",
    b"content-length:003 ,3\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Expect: 100-continue\r\n",
    b"18446744073709551615",
    b"18446744073709551616",
    b"ffffffffffffffff",
    b"0123456789012345678901234567890123456789",
    b"abc",
    b"\xc3\xa9",
    b"\xff",
];

/// Reads what `bytes` say in pieces as they say, and panics unless the requests that are found are those that were sent.
pub fn run(bytes: &[u8]) {
    let mut dice = Dice::new(bytes);
    let max_head = [1_000, 12_000, 100, 30][dice.below(4)];
    let max_body = [40, 10_000, 5, 0][dice.below(4)];
    let scale = [1, 1, 1, 100][dice.below(4)];
    let sizes = Vec::from_iter((0..1 + dice.below(16)).map(|_| scale * (1 + dice.below(100))));
    let text = text(dice);

    let found = seen(pieces(&text, &sizes), max_head, max_body);
    assert_eq!(found, seen([&*text], max_head, max_body), "in pieces");
    let expected = model(&text, max_head, max_body);
    let agree = |(found, expected): (&Seen, &Expected)| match (found, expected) {
        (Seen::Request(head, content), Expected::Request(other, same)) => {
            head == other && content == same
        }
        (Seen::Refused(status), Expected::Refused(faults)) => faults.contains(status),
        (Seen::Unfinished, Expected::Unfinished) => true,
        _ => false,
    };
    assert!(
        found.len() == expected.len() && found.iter().zip(&expected).all(agree),
        "of {}\n{found:?} instead of\n{expected:?}",
        text.escape_ascii()
    );
}

/// Each byte is itself or a word; the highest has the next one repeated.
fn text(mut dice: Dice) -> Vec<u8> {
    let mut text = Vec::new();
    while !dice.is_used_up() && text.len() < MAX_TEXT {
        let (mut byte, mut times) = (dice.below(256), 1);
        if byte == 255 {
            (times, byte) = (1 + dice.below(256), dice.below(255));
        }
        match u8::try_from(byte) {
            Ok(byte) if byte.is_ascii() => text.extend([byte].repeat(times)),
            _ => text.extend(WORDS[(byte - 128) % WORDS.len()].repeat(times)),
        }
    }
    text.truncate(MAX_TEXT);
    text
}

fn pieces<'a>(mut left: &'a [u8], sizes: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let piece = move |size: &usize| {
        let piece;
        (piece, left) = left.split_at(left.len().min(*size));
        (!piece.is_empty()).then_some(piece)
    };
    sizes.iter().cycle().map_while(piece)
}

// ---- the model ----

#[derive(Debug)]
enum Expected {
    Request(Head, Vec<u8>),
    /// For one of these reasons.
    Refused(Vec<u16>),
    Unfinished,
}

/// What is there from the beginning, and how long it is; `None` if it goes on.
type Whole<T> = Result<Option<(T, usize)>, Vec<u16>>;

fn model(text: &[u8], max_head: usize, max_body: u64) -> Vec<Expected> {
    let mut expected = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        match request(rest, max_head, max_body) {
            Ok(Some(((head, content), length))) => {
                expected.push(Expected::Request(head, content));
                rest = &rest[length..];
            }
            Ok(None) => {
                expected.push(Expected::Unfinished);
                break;
            }
            Err(faults) => {
                expected.push(Expected::Refused(faults));
                break;
            }
        }
    }
    expected
}

fn request(text: &[u8], max_head: usize, max_body: u64) -> Whole<(Head, Vec<u8>)> {
    let Some((head, head_length)) = head(text, max_head)? else {
        return Ok(None);
    };
    let rest = &text[head_length..];
    let body = match head.framing {
        Framing::Chunked => chunks(rest, max_body)?,
        Framing::Length(length) if length > max_body => return Err(vec![413]),
        Framing::Length(length) => rest
            .get(..length as usize)
            .map(|content| (content.to_vec(), content.len())),
    };
    Ok(body.map(|(content, length)| ((head, content), head_length + length)))
}

/// Its name, and its value with the space round it.
type Header<'a> = (&'a [u8], &'a [u8]);

/// A head cut into its parts.
struct Parts<'a> {
    method: &'a [u8],
    target: &'a str,
    is_old: bool,
    headers: Vec<Header<'a>>,
}

fn head(text: &[u8], limit: usize) -> Whole<Head> {
    let within = &text[..text.len().min(limit)];
    let mut parts = None;
    let mut length = 0;
    for line in within.split_inclusive(|byte| *byte == b'\n') {
        length += line.len();
        let is_whole = line.ends_with(b"\n");
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        // It ends, though its last byte has not come yet.
        let is_closed = is_whole || line.ends_with(b"\r");
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match &mut parts {
            None if line.is_empty() => {}
            None => parts = request_line(line, is_closed)?.filter(|_| is_whole),
            Some(_) if line.is_empty() && is_whole => {
                let head = parts.map(judged).transpose()?;
                return Ok(head.map(|head| (head, length)));
            }
            Some(_) if line.is_empty() => {}
            Some(parts) => parts.headers.extend(header(line, is_closed)?),
        }
        if is_whole
            && parts
                .as_ref()
                .is_some_and(|parts| parts.headers.len() > HEADERS)
        {
            return Err(vec![431]);
        }
    }
    match parts {
        _ if within.len() < limit => Ok(None),
        Some(_) => Err(vec![431]),
        None => Err(vec![414]),
    }
}

fn request_line(line: &[u8], is_closed: bool) -> Result<Option<Parts<'_>>, Vec<u16>> {
    let refused = Err(vec![400]);
    let mut words = line.splitn(3, |byte| *byte == b' ');
    let method = words.next().unwrap_or_default();
    if !method.iter().all(is_of_token) {
        return refused;
    }
    let Some(target) = words.next() else {
        return if is_closed { refused } else { Ok(None) };
    };
    if method.is_empty() || !target.iter().all(|byte| *byte > b' ' && *byte != 0x7f) {
        return refused;
    }
    let Some(version) = words.next() else {
        return if is_closed { refused } else { Ok(None) };
    };
    let target = std::str::from_utf8(target).unwrap_or_default();
    if target.is_empty() {
        return refused;
    }
    let known = ["HTTP/1.0", "HTTP/1.1"].map(str::as_bytes);
    let parts = |is_old| Parts {
        method,
        target,
        is_old,
        headers: Vec::new(),
    };
    match known.iter().position(|known| version.starts_with(known)) {
        Some(which) if version.len() == 8 => Ok(Some(parts(which == 0))),
        Some(_) => refused,
        None if !is_closed && known.iter().any(|known| known.starts_with(version)) => Ok(None),
        None => Err(vec![505]),
    }
}

fn header(line: &[u8], is_closed: bool) -> Result<Option<Header<'_>>, Vec<u16>> {
    let mut parts = line.splitn(2, |byte| *byte == b':');
    let name = parts.next().unwrap_or_default();
    let value = parts.next();
    let is_right = name.iter().all(is_of_token)
        && !name.is_empty()
        && (value.is_some() || !is_closed)
        && value.is_none_or(|value| value.iter().all(is_text));
    if is_right {
        Ok(value.map(|value| (name, value)))
    } else {
        Err(vec![400])
    }
}

fn is_of_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

fn is_text(byte: &u8) -> bool {
    *byte == b'\t' || *byte >= b' ' && *byte != 0x7f
}

fn judged(parts: Parts) -> Result<Head, Vec<u16>> {
    // A value that is no text is none of those that matter.
    let all = |name: &str| {
        let mine = parts
            .headers
            .iter()
            .filter(|header| header.0.eq_ignore_ascii_case(name.as_bytes()));
        mine.map(|header| String::from_utf8(header.1.to_vec()).unwrap_or("?".to_owned()))
            .map(|value| value.trim_matches([' ', '\t']).to_owned())
            .collect::<Vec<_>>()
    };
    let words = |name| {
        let joined = all(name).join(",").to_ascii_lowercase();
        let words = joined.split(',').map(|word| word.trim_matches([' ', '\t']));
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    let mut faults = Vec::new();
    if all("host").len() != 1 && !(parts.is_old && all("host").is_empty()) {
        faults.push(400);
    }
    let method = match parts.method {
        b"GET" => Method::Get,
        b"HEAD" => Method::Head,
        b"POST" => Method::Post,
        b"OPTIONS" => Method::Options,
        b"PUT" | b"DELETE" | b"PATCH" | b"CONNECT" | b"TRACE" => Method::Other,
        _ => {
            faults.push(501);
            Method::Other
        }
    };
    let path = path(parts.target, method).unwrap_or_else(|| {
        faults.push(400);
        String::new()
    });
    let framing = framing(
        (!all("transfer-encoding").is_empty()).then(|| words("transfer-encoding")),
        (!all("content-length").is_empty()).then(|| words("content-length")),
        parts.is_old,
        &mut faults,
    );
    let expectations = all("expect");
    if !expectations
        .iter()
        .all(|one| one.eq_ignore_ascii_case("100-continue"))
    {
        faults.push(417);
    }
    let asks_to = |word: &str| words("connection").iter().any(|given| given == word);
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(Head {
        method,
        path,
        framing,
        keep_alive: !asks_to("close") && (!parts.is_old || asks_to("keep-alive")),
        is_old: parts.is_old,
        expects_continue: !expectations.is_empty() && !parts.is_old,
        has_since: all("if-modified-since").first().and_then(|text| date(text)),
    })
}

/// Of `http://host/path?query#fragment` or less (RFC 9110, section 4.2).
fn path(target: &str, method: Method) -> Option<String> {
    if target == "*" && method == Method::Options {
        return Some(target.to_owned());
    }
    let until_question = target.split(['?', '#']).next()?;
    let is_absolute = target.len() >= 7 && target.as_bytes()[..7].eq_ignore_ascii_case(b"http://");
    let path = match is_absolute {
        false => until_question,
        true => {
            let (host, _) = until_question[7..]
                .split_once('/')
                .unwrap_or((&until_question[7..], ""));
            if host.is_empty() {
                return None;
            }
            match &until_question[7 + host.len()..] {
                "" => "/",
                path => path,
            }
        }
    };
    path.starts_with('/').then(|| path.to_owned())
}

fn framing(
    codings: Option<Vec<String>>,
    lengths: Option<Vec<String>>,
    is_old: bool,
    faults: &mut Vec<u16>,
) -> Framing {
    let bad = match (codings, lengths) {
        (None, None) => return Framing::Length(0),
        (Some(codings), None) if !is_old => {
            let chunked = codings.iter().filter(|coding| *coding == "chunked").count();
            let is_right = chunked == 1
                && codings.last().is_some_and(|last| last == "chunked")
                && !codings.contains(&String::new());
            match (is_right, codings.len()) {
                (true, 1) => return Framing::Chunked,
                (true, _) => vec![501],
                (false, _) => vec![400],
            }
        }
        (None, Some(lengths)) => {
            let is_number = |length: &String| {
                !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit())
            };
            // Nothing is as long as what does not fit into 64 bits.
            let mut values = lengths
                .iter()
                .map(|length| length.parse().unwrap_or(u64::MAX));
            let first = values.next().unwrap_or_default();
            if lengths.iter().all(is_number) && values.all(|value| value == first) {
                return Framing::Length(first);
            }
            vec![400]
        }
        _ => vec![400],
    };
    faults.extend(bad);
    Framing::Length(0)
}

fn date(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text).ok()
}

fn chunks(text: &[u8], limit: u64) -> Whole<Vec<u8>> {
    let (mut content, mut rest) = (Vec::new(), text);
    loop {
        let Some(line) = up_to_cr(rest, |line, is_closed| {
            let digits = line
                .iter()
                .take_while(|byte| byte.is_ascii_hexdigit())
                .count();
            let (_, more) = line.split_at(digits);
            let is_right = (1..=16).contains(&digits)
                && more.first().is_none_or(|first| b"; \t".contains(first))
                && more.iter().all(is_text)
                && line.len() <= CHUNK_LINE;
            is_right || line.is_empty() && !is_closed
        })?
        else {
            return Ok(None);
        };
        rest = &rest[line.len() + 2..];
        let digits = line
            .split(|byte| !byte.is_ascii_hexdigit())
            .next()
            .unwrap_or_default();
        let size = u64::from_str_radix(&String::from_utf8_lossy(digits), 16).unwrap();
        if size == 0 {
            let read = text.len() - rest.len();
            return Ok(trailers(rest)?.map(|length| (content, read + length)));
        }
        if size > limit - content.len() as u64 {
            return Err(vec![413]);
        }
        let Some(chunk) = rest.get(..size as usize) else {
            return Ok(None);
        };
        content.extend(chunk);
        rest = &rest[chunk.len()..];
        match up_to_cr(rest, |line, _| line.is_empty())? {
            Some(_) => rest = &rest[2..],
            None => return Ok(None),
        }
    }
}

/// How many bytes they are, with the end of the body.
fn trailers(text: &[u8]) -> Result<Option<usize>, Vec<u16>> {
    let (mut left, mut rest) = (TRAILERS, text);
    loop {
        let right = rest.iter().take_while(|byte| is_text(byte)).count();
        if right > left {
            return Err(vec![431]);
        }
        let Some(line) = up_to_cr(rest, |line, _| line.len() == right)? else {
            return Ok(None);
        };
        rest = &rest[line.len() + 2..];
        if line.is_empty() {
            return Ok(Some(text.len() - rest.len()));
        }
        left -= line.len();
    }
}

/// The first line without its CR and LF, `None` if they have not come. `is_right` says whether what there is of it, or all of it, is.
fn up_to_cr(
    text: &[u8],
    is_right: impl Fn(&[u8], bool) -> bool,
) -> Result<Option<&[u8]>, Vec<u16>> {
    let end = text.iter().position(|byte| *byte == b'\r');
    let line = &text[..end.unwrap_or(text.len())];
    let is_over = end.map(|end| text.get(end + 1));
    match is_over {
        _ if !is_right(line, end.is_some()) => Err(vec![400]),
        None | Some(None) => Ok(None),
        Some(Some(b'\n')) => Ok(Some(line)),
        Some(Some(_)) => Err(vec![400]),
    }
}
