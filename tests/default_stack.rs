//! What a task of the default stack size can call: deep or wide code of the ecosystem and of std, none of it made for small stacks.
//!
//! A task that needs more ends this whole test program, with the line that [`a_stack_too_small_for_the_work_says_so`] looks for. The
//! sizes differ between builds, so this is to be run with `--release` as well.

use multitask::net::{SocketAddr, TcpListener, TcpStream};
use multitask::{spawn, task};
use regex::Regex;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use rustls::{Stream, SupportedProtocolVersion};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};
use std::sync::Arc;
use std::{env, thread};

fn in_default_stack(work: impl FnOnce() + Send + 'static) {
    spawn(work).join().unwrap();
}

// ---- TLS, which reads and writes our TcpStream as it would std's ----

#[test]
fn a_rustls_handshake_fits_into_a_default_stack() {
    talk_over_tls(&TLS13);
}

#[test]
fn a_rustls_handshake_of_tls_1_2_fits_into_a_default_stack() {
    talk_over_tls(&TLS12);
}

const QUESTION: &[u8] = b"a question over tls";
const ANSWER: &[u8] = b"an answer over tls, and a somewhat longer one";

/// A question and its answer between two tasks, each of which does all of its end: parsing keys, verifying, encrypting.
fn talk_over_tls(version: &'static SupportedProtocolVersion) {
    let identity = Identity::of_localhost();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();

    let root = identity.root;
    let client = spawn(move || ask_over_tls(version, &root, addr));
    let server = spawn(move || {
        answer_over_tls(version, &identity.chain, &identity.key, &listener);
    });
    client.join().unwrap();
    server.join().unwrap();
}

fn ask_over_tls(version: &'static SupportedProtocolVersion, root: &str, addr: SocketAddr) {
    let mut socket = TcpStream::connect(addr).unwrap();
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(root.as_bytes()).unwrap())
        .unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "localhost".try_into().unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();

    let mut stream = Stream::new(&mut connection, &mut socket);
    stream.write_all(QUESTION).unwrap();
    let mut answer = [0; ANSWER.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, ANSWER);
    assert_eq!(connection.protocol_version(), Some(version.version));
}

fn answer_over_tls(
    version: &'static SupportedProtocolVersion,
    chain: &str,
    key: &str,
    listener: &TcpListener,
) {
    let (mut socket, _peer) = listener.accept().unwrap();
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.map(Result::unwrap).collect(), key)
        .unwrap();
    let mut connection = ServerConnection::new(Arc::new(config)).unwrap();

    let mut stream = Stream::new(&mut connection, &mut socket);
    let mut question = [0; QUESTION.len()];
    stream.read_exact(&mut question).unwrap();
    assert_eq!(question, QUESTION);
    stream.write_all(ANSWER).unwrap();
}

/// A server's certificate by way of an intermediate authority, as most have it; everything in PEM.
struct Identity {
    root: String,
    chain: String,
    key: String,
}

impl Identity {
    fn of_localhost() -> Self {
        use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

        let new_key = || KeyPair::generate().unwrap();
        let authority = |name| {
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.distinguished_name.push(DnType::CommonName, name);
            params
        };
        let root = CertifiedIssuer::self_signed(authority("root"), new_key()).unwrap();
        let middle = authority("intermediate");
        let middle = CertifiedIssuer::signed_by(middle, new_key(), &root).unwrap();
        let key = new_key();
        let leaf = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &middle).unwrap();
        Identity {
            root: root.pem(),
            chain: leaf.pem() + &middle.pem(),
            key: key.serialize_pem(),
        }
    }
}

// ---- regex, whose compiler recurses into the expression ----

#[test]
fn compiling_and_matching_a_regex_fits_into_a_default_stack() {
    in_default_stack(|| {
        let address = Regex::new(ADDRESS).unwrap();
        let found = address
            .captures("jürgen.müller+x@mail.παράδειγμα.example.org")
            .unwrap();
        assert_eq!(&found["top"], "org");
        assert!(!address.is_match("nobody at nowhere"));
    });
}

/// Unicode classes, alternatives and bounded repeats.
const ADDRESS: &str = r"(?xi)
    ^ (?P<local> [\p{L}\p{N}] [\p{L}\p{N}_.+-]{0,30} )
    @ (?P<host> (?: [\p{L}\p{N}] [\p{L}\p{N}-]{0,30} \. ){1,4} )
      (?P<top> com | org | net | info | \p{Greek}{2,10} | [[:alpha:]]{2,24} ) $";

#[test]
fn compiling_and_matching_a_regex_of_10_nested_groups_fits_into_a_default_stack() {
    in_default_stack(|| {
        let pattern = format!("^{}x{}$", "(?:a|".repeat(10), ")*".repeat(10));
        let nested = Regex::new(&pattern).unwrap();
        assert!(nested.is_match(&"ax".repeat(50)));
        assert!(!nested.is_match("b"));
    });
}

// ---- serde_json, which recurses into the data ----

/// The deepest that serde_json parses: the next level reaches its limit of 128.
const DEEPEST: usize = 127;

#[test]
fn json_arrays_as_deep_as_serde_json_allows_fit_into_a_default_stack() {
    in_default_stack(|| parse_print_and_drop(|depth| "[".repeat(depth) + &"]".repeat(depth)));
}

#[test]
fn json_objects_as_deep_as_serde_json_allows_fit_into_a_default_stack() {
    in_default_stack(|| parse_print_and_drop(nested_objects));
}

fn nested_objects(depth: usize) -> String {
    r#"{"a":"#.repeat(depth) + "1" + &"}".repeat(depth)
}

fn parse_print_and_drop(nested: fn(usize) -> String) {
    let text = nested(DEEPEST);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value.to_string(), text);
    drop(value);
    let too_deep = serde_json::from_str::<serde_json::Value>(&nested(DEEPEST + 1));
    assert!(too_deep.unwrap_err().to_string().contains("recursion"));
}

#[test]
fn json_of_a_derived_struct_nested_60_deep_fits_into_a_default_stack() {
    in_default_stack(|| {
        let chain = (1..60).fold(Node::before(None), |next, _| {
            Node::before(Some(Box::new(next)))
        });
        let text = serde_json::to_string(&chain).unwrap();
        assert_eq!(serde_json::from_str::<Node>(&text).unwrap(), chain);
        assert!(format!("{chain:#?}").len() > text.len());
    });
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Node {
    id: u64,
    name: String,
    weight: Option<f64>,
    next: Option<Box<Node>>,
}

impl Node {
    fn before(next: Option<Box<Node>>) -> Self {
        Node {
            id: 7,
            name: "node".to_owned(),
            weight: Some(0.5),
            next,
        }
    }
}

// ---- The standard library ----

#[test]
fn the_first_panic_of_a_process_with_a_full_backtrace_fits_into_a_default_stack() {
    let end = run_alone("panic");
    let said = String::from_utf8_lossy(&end.stderr);
    assert!(end.status.success(), "{end:?}");
    assert!(said.contains("meant to happen\nstack backtrace:"), "{said}");
    assert!(said.contains("default_stack::panic_in_a_task"), "{said}");
}

fn panic_in_a_task() {
    let panicked = spawn(|| panic!("this was meant to happen")).join();
    assert_eq!(
        panicked.unwrap_err().message(),
        Some("this was meant to happen")
    );
}

/// In a process whose output is not captured: the real `stdout` takes a lock, a buffer and a system call.
#[test]
fn println_fits_into_a_default_stack() {
    let end = run_alone("println");
    let said = String::from_utf8_lossy(&end.stdout);
    assert!(end.status.success(), "{end:?}");
    assert!(said.contains("42 Some(\"text\")    2.500\n"), "{said}");
}

fn print_in_a_task() {
    in_default_stack(|| println!("{} {:?} {:>8.3}", 42, Some("text"), 2.5));
}

#[test]
fn printing_and_parsing_an_f64_fits_into_a_default_stack() {
    in_default_stack(|| {
        for number in [0.1, 1e300, -2.5e-300, f64::MIN_POSITIVE, 123456789.125] {
            for text in [format!("{number}"), format!("{number:e}")] {
                assert_eq!(text.parse(), Ok(number));
            }
            assert!(format!("{number:.17}").parse::<f64>().is_ok());
        }
    });
}

#[test]
fn spawning_and_joining_a_thread_fits_into_a_default_stack() {
    in_default_stack(|| assert_eq!(thread::spawn(|| 42).join().unwrap(), 42));
}

#[test]
fn growing_a_hash_map_fits_into_a_default_stack() {
    in_default_stack(|| {
        let map: HashMap<String, u32> = (0..1000).map(|key| (key.to_string(), key)).collect();
        assert_eq!(map["999"], 999);
    });
}

/// Into nothing, which leaves `io::copy` no buffer but its own, on the stack.
#[test]
fn io_copy_fits_into_a_default_stack() {
    in_default_stack(|| {
        let file = File::open(env::current_exe().unwrap()).unwrap();
        let copied = io::copy(&mut file.take(100_000), &mut io::sink());
        assert_eq!(copied.unwrap(), 100_000);
    });
}

// ---- The counter-check ----

#[test]
fn a_stack_too_small_for_the_work_says_so() {
    let end = run_alone("overflow");
    let said = String::from_utf8_lossy(&end.stderr);
    assert_eq!(end.status.signal(), Some(libc::SIGABRT), "{end:?}");
    assert!(said.contains("task 'parser' (#"), "{said}");
    assert!(
        said.contains(") has overflowed its 32 KiB stack\n"),
        "{said}"
    );
}

/// Takes 72 KiB in an optimised build, 240 KiB in one that is not.
fn parse_in_a_small_task() {
    task::Builder::new()
        .name("parser".into())
        .stack_size(32 << 10)
        .spawn(|| parse_print_and_drop(nested_objects))
        .unwrap()
        .join()
        .unwrap();
}

// ---- Work in a process of its own ----

/// Names the work that a child process is there for.
const ALONE: &str = "MULTITASK_TEST_ALONE";

/// How this program ends, and what it prints, when it is run again for the one test [`child`].
fn run_alone(work: &str) -> Output {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(ALONE, work)
        .env("RUST_BACKTRACE", "full")
        .output()
        .unwrap()
}

/// Not a test of its own: what [`run_alone`] runs.
#[test]
fn child() {
    match env::var(ALONE).as_deref() {
        Ok("panic") => panic_in_a_task(),
        Ok("println") => print_in_a_task(),
        Ok("overflow") => parse_in_a_small_task(),
        Ok(unknown) => panic!("no work {unknown}"),
        Err(_) => {}
    }
}
