//! Owns what a request's head says, and which heads are refused.
//!
//! 1. What is made of a head depends on its bytes, not on the pieces in which they came: an error is one of the beginning up to the byte that
//!    shows it.
//! 2. Where the body ends is said in one way or the request is refused (RFC 9112, section 6.3): two proxies that read it differently would
//!    each see other requests in the same bytes.
//!
//! `httparse` cuts the bytes into words; what the words mean is judged here.

use super::status::Status;
use httparse::{Error, Header};
use std::mem::MaybeUninit;
use std::time::SystemTime;

/// As many headers as a head may have.
pub const HEADERS: usize = 100;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub method: Method,
    /// It begins with a slash, as it was sent: percent signs stand for themselves. For `OPTIONS` it may be `*`.
    pub path: String,
    pub framing: Framing,
    /// The client would go on with this connection.
    pub keep_alive: bool,
    /// Of version 1.0.
    pub is_old: bool,
    /// The client waits for a word before it sends its body.
    pub expects_continue: bool,
    /// It has what was changed last before that.
    pub has_since: Option<SystemTime>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
    Post,
    Options,
    /// One that HTTP knows, and nothing here allows.
    Other,
}

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Length(u64),
    Chunked,
}

impl Framing {
    pub const NO_BODY: Framing = Framing::Length(0);
}

/// The head at the beginning of `input`, and how long it is; `None` if its end has not come yet.
///
/// # Errors
/// It is refused, and where the next request begins is not known.
pub fn parse(input: &[u8], limit: usize) -> Result<Option<(Head, usize)>, Status> {
    let within = &input[..input.len().min(limit)];
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(within, &mut headers) {
        Ok(httparse::Status::Complete(length)) => Ok(Some((judge(&request)?, length))),
        Ok(httparse::Status::Partial) if within.len() == limit => Err(too_large(within)),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(Error::TooManyHeaders) => Err(Status::HEAD_TOO_LARGE),
        Err(Error::Version) => Err(Status::VERSION_NOT_SUPPORTED),
        Err(_) => Err(Status::BAD_REQUEST),
    }
}

fn too_large(input: &[u8]) -> Status {
    let line = input.trim_ascii_start();
    if line.contains(&b'\n') {
        Status::HEAD_TOO_LARGE
    } else {
        Status::TARGET_TOO_LONG
    }
}

fn judge(request: &httparse::Request) -> Result<Head, Status> {
    let headers = &*request.headers;
    let is_old = request.version == Some(0);
    let hosts = values(headers, "host").count();
    if hosts > 1 || (hosts == 0 && !is_old) {
        return Err(Status::BAD_REQUEST);
    }
    let framing = framing(headers, is_old)?;
    let method = method(request.method.unwrap_or_default())?;
    let connection = |word| {
        let mut words = words(headers, "connection");
        words.any(|given| given.eq_ignore_ascii_case(word))
    };
    Ok(Head {
        method,
        path: path(request.path.unwrap_or_default(), method)?,
        framing,
        keep_alive: !connection("close") && (!is_old || connection("keep-alive")),
        is_old,
        expects_continue: expects_continue(headers)? && !is_old,
        has_since: values(headers, "if-modified-since")
            .next()
            .and_then(|date| httpdate::parse_http_date(date).ok()),
    })
}

fn method(name: &str) -> Result<Method, Status> {
    match name {
        "GET" => Ok(Method::Get),
        "HEAD" => Ok(Method::Head),
        "POST" => Ok(Method::Post),
        "OPTIONS" => Ok(Method::Options),
        "PUT" | "DELETE" | "PATCH" | "CONNECT" | "TRACE" => Ok(Method::Other),
        _ => Err(Status::NOT_IMPLEMENTED),
    }
}

/// The path of a target, which a proxy may send with scheme and host before it; without the question after it.
fn path(target: &str, method: Method) -> Result<String, Status> {
    if target == "*" && method == Method::Options {
        return Ok(target.to_owned());
    }
    let is_absolute = target
        .get(..7)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://"));
    let target = target.split(['?', '#']).next().unwrap_or_default();
    let path = match is_absolute {
        true => after_host(&target[7..])?,
        false => target,
    };
    if !path.starts_with('/') {
        return Err(Status::BAD_REQUEST);
    }
    Ok(path.to_owned())
}

/// What follows a host: a slash if nothing does. Without a host it is no such target (RFC 9110, section 4.2.1).
fn after_host(target: &str) -> Result<&str, Status> {
    match target.find('/').unwrap_or(target.len()) {
        0 => Err(Status::BAD_REQUEST),
        end if end == target.len() => Ok("/"),
        slash => Ok(&target[slash..]),
    }
}

/// Invariant 2.
fn framing(headers: &[Header], is_old: bool) -> Result<Framing, Status> {
    let is_given = |name| values(headers, name).next().is_some();
    match (is_given("transfer-encoding"), is_given("content-length")) {
        (false, false) => Ok(Framing::NO_BODY),
        (true, true) => Err(Status::BAD_REQUEST),
        (true, false) if is_old => Err(Status::BAD_REQUEST), // it has no such thing
        (true, false) => coding(words(headers, "transfer-encoding")),
        (false, true) => length(words(headers, "content-length")),
    }
}

fn coding<'a>(codings: impl Iterator<Item = &'a str>) -> Result<Framing, Status> {
    let codings: Vec<_> = codings.collect();
    let is_chunked = |coding: &&str| coding.eq_ignore_ascii_case("chunked");
    let is_other = |coding: &&str| !coding.is_empty() && !is_chunked(coding);
    match &*codings {
        [only] if is_chunked(only) => Ok(Framing::Chunked),
        [others @ .., last] if is_chunked(last) && others.iter().all(is_other) => {
            Err(Status::NOT_IMPLEMENTED)
        }
        _ => Err(Status::BAD_REQUEST),
    }
}

fn length<'a>(lengths: impl Iterator<Item = &'a str>) -> Result<Framing, Status> {
    let mut agreed = None;
    for length in lengths {
        // `parse` would take a plus sign.
        if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Status::BAD_REQUEST);
        }
        let length = length.parse().unwrap_or(u64::MAX); // it is too large in any case
        if agreed.is_some_and(|before| before != length) {
            return Err(Status::BAD_REQUEST);
        }
        agreed = Some(length);
    }
    agreed.map(Framing::Length).ok_or(Status::BAD_REQUEST)
}

fn expects_continue(headers: &[Header]) -> Result<bool, Status> {
    let mut expects = false;
    for expectation in values(headers, "expect") {
        if !expectation.eq_ignore_ascii_case("100-continue") {
            return Err(Status::EXPECTATION_FAILED);
        }
        expects = true;
    }
    Ok(expects)
}

/// The elements of a list, whose parts may be spread over several headers of the name.
fn words<'a>(headers: &'a [Header], name: &'a str) -> impl Iterator<Item = &'a str> {
    values(headers, name)
        .flat_map(|value| value.split(','))
        .map(|word| word.trim_matches([' ', '\t']))
}

/// What is no text is not one of the values that are looked for here, and must not look as if it were not there.
fn values<'a>(headers: &'a [Header], name: &'a str) -> impl Iterator<Item = &'a str> {
    headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name))
        .map(|header| std::str::from_utf8(header.value).unwrap_or("\u{fffd}"))
        .map(|value| value.trim_matches([' ', '\t']))
}
