//! Fetches pages over TLS, all of them at a time: a task for each, with rustls, unchanged, over our sockets.
//!
//! ```text
//! cargo run --release --example https_get -- [--ca FILE] [--seconds N] https://HOST[:PORT][/PATH]...
//! ```
//!
//! The pages go to standard output, in the order in which they were asked for. Servers have to be known to one of the authorities that
//! browsers trust, or to those in `--ca FILE` (PEM). A page that does not come within `--seconds`, 30 unless told otherwise, or whose
//! status is not 200, is a failure.

#[allow(dead_code)] // of what a server has, a client needs the ends of bodies
mod http;

use http::body::Body;
use http::request::Framing;
use multitask::net::TcpStream;
use multitask::{task, timeout, Scheduler};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::error::Error;
use std::ffi::OsString;
use std::io::{self, ErrorKind, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const USAGE: &str = "usage: https_get [--ca FILE] [--seconds N] https://HOST[:PORT][/PATH]...";
/// Of the head of an answer.
const HEAD: usize = 64 << 10;
const HEADERS: usize = 100;
/// Bytes of a page.
const PAGE: u64 = 64 << 20;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse()?;
    let config = Arc::new(config(options.ca)?);
    let limit = options.limit;
    let failures = Scheduler::new()?.block_on(|| {
        let fetch = |url: String| {
            let config = config.clone();
            move || {
                let page =
                    timeout(limit, || get(&url, config)).unwrap_or_else(|late| Err(late.into()));
                page.map_err(|error| format!("{url}: {error}"))
            }
        };
        let pages = task::join_all(options.urls.into_iter().map(fetch));
        let mut failures = 0;
        for page in pages {
            match page {
                Ok(page) => io::stdout().write_all(&page)?,
                Err(failure) => {
                    eprintln!("{failure}");
                    failures += 1;
                }
            }
        }
        io::Result::Ok(failures)
    })?;
    if failures > 0 {
        return Err(format!("{failures} did not come").into());
    }
    Ok(())
}

/// What is at `url`. Reads and writes as a thread would.
fn get(url: &str, config: Arc<ClientConfig>) -> Result<Vec<u8>, Failure> {
    let url = Url::parse(url).ok_or(USAGE)?;
    let name = ServerName::try_from(url.host.to_owned())?;
    let socket = TcpStream::connect((url.host, url.port))?;
    let mut stream = StreamOwned::new(ClientConnection::new(config, name)?, socket);
    let Url {
        path, authority, ..
    } = url;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: https_get\r\nConnection: close\r\n\r\n"
    )?;
    let (answer, mut rest) = answer(&mut stream)?;
    if answer.status != 200 {
        return Err(format!("{} {}", answer.status, answer.reason).into());
    }
    let Some(framing) = answer.framing else {
        // An error if TLS did not say that it was the end.
        stream.take(PAGE).read_to_end(&mut rest)?;
        return Ok(rest);
    };
    let invalid = |status: http::status::Status| format!("its body is wrong: {}", status.reason());
    let mut body = Body::new(framing, PAGE).map_err(invalid)?;
    let mut page = Vec::new();
    body.decode(&rest, &mut page).map_err(invalid)?;
    let mut piece = vec![0; 16 << 10];
    while !body.is_done() {
        let read = stream.read(&mut piece)?;
        if read == 0 {
            return Err(io::Error::from(ErrorKind::UnexpectedEof).into());
        }
        body.decode(&piece[..read], &mut page).map_err(invalid)?;
    }
    Ok(page)
}

struct Answer {
    status: u16,
    reason: String,
    /// `None` if the body ends with the connection.
    framing: Option<Framing>,
}

/// The head of the answer, and what has come with it.
fn answer(stream: &mut impl Read) -> Result<(Answer, Vec<u8>), Failure> {
    let mut bytes = Vec::new();
    loop {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        if let httparse::Status::Complete(length) = response.parse(&bytes)? {
            let answer = Answer {
                status: response.code.unwrap_or_default(),
                reason: response.reason.unwrap_or_default().to_owned(),
                framing: framing(response.headers)?,
            };
            bytes.drain(..length);
            if answer.status == 100 {
                continue; // the real one follows
            }
            return Ok((answer, bytes));
        }
        let mut piece = [0; 4 << 10];
        match stream.read(&mut piece)? {
            read @ 1.. if bytes.len() < HEAD => bytes.extend_from_slice(&piece[..read]),
            _ => return Err("no answer of HTTP".into()),
        }
    }
}

fn framing(headers: &[httparse::Header]) -> Result<Option<Framing>, Failure> {
    let value = |name: &str| {
        let mut mine = headers
            .iter()
            .filter(|header| header.name.eq_ignore_ascii_case(name));
        mine.next()
            .map(|header| std::str::from_utf8(header.value))
            .transpose()
    };
    match (value("transfer-encoding")?, value("content-length")?) {
        (Some(coding), _) if coding.trim().eq_ignore_ascii_case("chunked") => {
            Ok(Some(Framing::Chunked))
        }
        (Some(coding), _) => Err(format!("its body is {coding}").into()),
        (None, Some(length)) => Ok(Some(Framing::Length(length.trim().parse()?))),
        (None, None) => Ok(None),
    }
}

struct Url<'a> {
    host: &'a str,
    port: u16,
    /// The two as they were given.
    authority: &'a str,
    path: &'a str,
}

impl Url<'_> {
    fn parse(url: &str) -> Option<Url<'_>> {
        let rest = url.strip_prefix("https://")?;
        let end = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?, // IPv6
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().ok()?,
            None if port.is_empty() => 443,
            None => return None,
        };
        let is_sendable = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        let path = if path.is_empty() { "/" } else { path };
        let url = Url {
            host,
            port,
            authority,
            path,
        };
        (!host.is_empty() && is_sendable(url.authority) && is_sendable(url.path)).then_some(url)
    }
}

fn config(ca: Option<PathBuf>) -> Result<ClientConfig, Box<dyn Error>> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            for authority in CertificateDer::pem_file_iter(&path)? {
                roots.add(authority?)?;
            }
        }
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

struct Options {
    ca: Option<PathBuf>,
    limit: Duration,
    urls: Vec<String>,
}

impl Options {
    fn parse() -> Result<Options, lexopt::Error> {
        use lexopt::prelude::*;
        let mut options = Options {
            ca: None,
            limit: Duration::from_secs(30),
            urls: Vec::new(),
        };
        let mut parser = lexopt::Parser::from_env();
        while let Some(arg) = parser.next()? {
            match arg {
                Long("ca") => options.ca = Some(parser.value()?.into()),
                Long("seconds") => options.limit = Duration::from_secs(parser.value()?.parse()?),
                Short('h') | Long("help") => {
                    println!("{USAGE}");
                    std::process::exit(0);
                }
                Value(url) => options.urls.push(OsString::string(url)?),
                _ => return Err(arg.unexpected()),
            }
        }
        if options.urls.is_empty() {
            return Err(USAGE.into());
        }
        Ok(options)
    }
}
