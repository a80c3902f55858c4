//! `http_server` over TLS: rustls, unchanged, reads and writes our sockets as it would std's.
//!
//! ```text
//! cargo run --release --example https_server -- --save-cert cert.pem
//! curl --cacert cert.pem https://localhost:8080/plaintext
//! ```
//!
//! With `--cert FILE` and `--key FILE` (PEM) it is who these say. Without, it makes itself a certificate for `localhost`, `127.0.0.1` and `::1`
//! when it starts, and saves it where `--save-cert` says, for clients to trust. Everything else is as in `http_server`.

mod http;

use http::{Options, Transport};
use multitask::net::TcpStream;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

const FLAGS: &str = "\
    --cert FILE            certificates, the server's own first
    --key FILE             its private key
    --save-cert FILE       where to write the certificate that is made if none is given
";

/// Names for which a certificate is made.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

fn main() -> Result<(), Box<dyn Error>> {
    let mut identity = Identity::default();
    let options = Options::parse("https_server", FLAGS, |flag, parser| {
        identity.take(flag, parser)
    })?;
    let tls = Tls(Arc::new(identity.config()?));
    http::run(options, tls)
}

struct Tls(Arc<ServerConfig>);

impl Transport for Tls {
    const SCHEME: &'static str = "https";
    type Stream<'a> = StreamOwned<ServerConnection, &'a TcpStream>;

    /// The handshake happens in the first read, under its limit of time.
    fn open<'a>(&self, socket: &'a TcpStream) -> io::Result<Self::Stream<'a>> {
        let connection = ServerConnection::new(self.0.clone()).map_err(io::Error::other)?;
        Ok(StreamOwned::new(connection, socket))
    }

    fn say_goodbye(stream: &mut Self::Stream<'_>) -> io::Result<()> {
        stream.conn.send_close_notify();
        stream.flush()
    }
}

/// Who the server says it is.
#[derive(Default)]
struct Identity {
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    save_cert: Option<PathBuf>,
}

impl Identity {
    fn take(&mut self, flag: &str, parser: &mut lexopt::Parser) -> Result<bool, lexopt::Error> {
        let place = match flag {
            "cert" => &mut self.cert,
            "key" => &mut self.key,
            "save-cert" => &mut self.save_cert,
            _ => return Ok(false),
        };
        *place = Some(parser.value()?.into());
        Ok(true)
    }

    fn config(self) -> Result<ServerConfig, Box<dyn Error>> {
        let (chain, key) = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => given(cert, key)?,
            (None, None) => self.made()?,
            _ => return Err("--cert and --key go together".into()),
        };
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    fn made(&self) -> Result<Parts, Box<dyn Error>> {
        let made = rcgen::generate_simple_self_signed(NAMES.map(str::to_owned))?;
        if let Some(path) = &self.save_cert {
            fs::write(path, made.cert.pem())?;
        }
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
        Ok((vec![made.cert.into()], key))
    }
}

type Parts = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn given(cert: &PathBuf, key: &PathBuf) -> Result<Parts, Box<dyn Error>> {
    let of = |path: &PathBuf| {
        let path = path.display().to_string();
        move |error| format!("{path}: {error}")
    };
    let chain = CertificateDer::pem_file_iter(cert).map_err(of(cert))?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(of(cert))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(of(key))?;
    Ok((chain, key))
}
