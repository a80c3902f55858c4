//! The server over TLS beside `curl` and `openssl`, and the client beside our server and that of `openssl`.

use crate::peers::{curl, farewell, get, noise, run, serving_tls, Folder, Serving};
use crate::programs::{is_installed, served, text, Program, Server};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Command, Output, Stdio};

/// With a certificate that it has made, and the file in which that is.
fn known(folder: &Folder, options: &[&str]) -> (Serving, String) {
    let cert = folder.path("cert.pem");
    let server = serving_tls(&[&["--save-cert", &cert], options].concat());
    (server, cert)
}

/// The same by the name for which certificates are made.
fn by_name(url: &str) -> String {
    url.replace("127.0.0.1", "localhost")
}

#[test]
fn curl_trusts_the_certificate_that_it_is_told_of_and_no_other() {
    if !is_installed("curl", "curl") {
        return;
    }
    let folder = Folder::new();
    let (server, cert) = known(&folder, &[]);
    for url in [server.url("/plaintext"), by_name(&server.url("/plaintext"))] {
        for version in ["--tlsv1.3", "--tls-max=1.2"] {
            let version = version.split('=').collect::<Vec<_>>();
            let args = [&version[..], &["--cacert", &cert, &url]].concat();
            assert_eq!(curl(&args), "Hello, World!", "{args:?}");
        }
    }
    let stranger =
        Program::from(Command::new("curl").args(["--silent", &server.url("/")])).finish();
    assert_eq!(stranger.status.code(), Some(60), "{stranger:?}");
    server.stop("TERM");
}

#[test]
fn a_megabyte_comes_back_through_curl_over_tls_and_files_come_whole() {
    if !is_installed("curl", "curl") {
        return;
    }
    let folder = Folder::new();
    let sent = noise(1 << 20);
    folder.file("sent", &sent);
    let data = format!("@{}", folder.path("sent"));
    let (server, cert) = known(&folder, &["--root", folder.0.to_str().unwrap()]);
    let trusting = ["--cacert", &cert, "--output", &folder.path("back")];
    for args in [
        &["--data-binary", &data, &server.url("/echo")][..],
        &[
            "--data-binary",
            &data,
            "--header",
            "Transfer-Encoding: chunked",
            &server.url("/echo"),
        ],
        &[&server.url("/files/sent")],
    ] {
        curl(&[&trusting, args].concat());
        let back = std::fs::read(folder.path("back")).unwrap();
        assert!(back == sent, "{args:?}: it has changed");
    }
    // Twice on one connection, which takes one handshake.
    let url = server.url("/plaintext");
    let args = [
        "--cacert",
        &cert,
        "--write-out",
        " %{num_connects} ",
        &url,
        &url,
    ];
    assert_eq!(curl(&args), "Hello, World! 1 Hello, World! 0 ");
    assert_eq!(server.stop("TERM"), farewell(5, 4, 0));
}

#[test]
fn openssl_shakes_hands_in_both_versions_and_hears_the_goodbye() {
    if !is_installed("openssl", "openssl") {
        return;
    }
    let folder = Folder::new();
    let (server, cert) = known(&folder, &[]);
    for version in ["-tls1_2", "-tls1_3"] {
        let mut client = Program::from(Command::new("openssl").args([
            "s_client",
            "-connect",
            server.addr(),
            version,
            "-CAfile",
            &cert,
            "-verify_return_error",
            "-ign_eof",
        ]));
        let mut stdin = client.child.stdin.take().unwrap();
        let last = get("/plaintext").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        stdin
            .write_all((get("/plaintext") + &last).as_bytes())
            .unwrap();
        let output = client.finish();
        let said = text(&output.stdout);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(said.matches("Hello, World!").count(), 2, "{said}");
        assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
        assert!(
            said.ends_with("closed\n"),
            "a goodbye, and not an end: {said}"
        );
    }
    server.stop("TERM");
}

#[test]
fn who_speaks_no_tls_or_too_slowly_is_closed_and_others_are_served() {
    let folder = Folder::new();
    let (server, cert) = known(&folder, &["--head-time", "0.5"]);
    let (alert, _) = served(|| {
        let mut plain = server.client().0;
        plain.get_ref().write_all(get("/plaintext").as_bytes())?;
        let mut alert = [0; 3];
        plain.read_exact(&mut alert)?;
        Ok(alert)
    });
    assert_eq!(alert, [21, 3, 3], "a fatal alert");

    let mut silent = server.client();
    let mut half = server.client();
    let hello = b"\x16\x03\x01\x02\x00\x01\x00"; // the beginning of one
    let _in_time = half.0.get_ref().write_all(hello);
    let page = || {
        let output = get_by_tls(&cert, &[&server.url("/plaintext")]);
        match output.status.success() {
            true => Ok(output.stdout),
            false => Err(io::Error::other(text(&output.stderr))),
        }
    };
    assert_eq!(served(page).0, b"Hello, World!");
    for client in [&mut silent, &mut half] {
        if let Err(error) = client.0.read_to_end(&mut Vec::new()) {
            // The beginning came too late.
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
    }
    assert_eq!(served(page).0, b"Hello, World!");
    server.stop("TERM");
}

// ---- https_get ----

fn get_by_tls(cert: &str, urls: &[&str]) -> Output {
    Program::start("https_get", &[&["--ca", cert], urls].concat()).finish()
}

/// What the client writes for these addresses; or what it complains of.
#[track_caller]
fn fetched(cert: &str, urls: &[&str], expected: Result<&str, &str>) {
    let output = get_by_tls(cert, urls);
    let complaints = text(&output.stderr);
    match expected {
        Ok(pages) => {
            assert_eq!(complaints, "");
            assert_eq!(text(&output.stdout), pages);
        }
        Err(complaint) => assert!(complaints.contains(complaint), "{complaints}"),
    }
    assert_eq!(output.status.success(), expected.is_ok());
}

#[test]
fn pages_come_in_the_order_in_which_they_were_asked_for() {
    let folder = Folder::new();
    folder.file("one", b"one\n");
    folder.file("two", b"two\n");
    let (server, cert) = known(&folder, &["--root", folder.0.to_str().unwrap()]);
    let one = server.url("/files/one");
    let two = by_name(&server.url("/files/two"));
    fetched(&cert, &[&one, &two, &one], Ok("one\ntwo\none\n"));
    fetched(&cert, &[&server.url("/files/three")], Err("404 Not Found"));
    let stranger = Program::start("https_get", &[&one]).finish();
    assert!(
        text(&stranger.stderr).contains("UnknownIssuer"),
        "{stranger:?}"
    );
    assert_eq!(
        (stranger.status.code(), &*stranger.stdout),
        (Some(1), &b""[..])
    );
    // One that is known, by a name that is not its own.
    let other = one.replace("127.0.0.1", "127.0.0.2");
    fetched(&cert, &[&other], Err("127.0.0.2"));
    for url in [
        "http://localhost/",
        "https://",
        "https://h:x/",
        "https://[::1",
    ] {
        fetched(&cert, &[url], Err("usage: "));
    }
    server.stop("TERM");
}

#[test]
fn the_client_and_the_server_of_openssl_understand_each_other() {
    if !is_installed("openssl", "openssl") {
        return;
    }
    let folder = Folder::new();
    let (cert, key) = (folder.path("cert.pem"), folder.path("key.pem"));
    run(
        "openssl",
        &[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-keyout",
            &key,
            "-out",
            &cert,
        ],
    );
    folder.file("page.txt", b"a page of somebody else's\n");
    let mut command = Command::new("openssl");
    command.current_dir(&folder.0).args([
        "s_server",
        "-accept",
        "127.0.0.1:0",
        "-cert",
        &cert,
        "-key",
        &key,
        "-WWW",
    ]);
    let mut program = Program::from(command.stdout(Stdio::piped()));
    // `ACCEPT 127.0.0.1:40000`
    let lines = BufReader::new(program.child.stdout.take().unwrap()).lines();
    let mut addrs =
        lines.filter_map(|line| Some(line.unwrap().strip_prefix("ACCEPT ")?.to_owned()));
    let addr = addrs.next().unwrap();
    let url = format!("https://{addr}/page.txt");
    fetched(&cert, &[&url], Ok("a page of somebody else's\n"));

    // The same certificate and key in our server.
    drop(program);
    let server = Serving(Server::started(
        "https_server",
        &["--cert", &cert, "--key", &key],
        &["127.0.0.1:0"],
    ));
    fetched(&cert, &[&server.url("/plaintext")], Ok("Hello, World!"));
    server.stop("TERM");
    let half = Program::start("https_server", &["--cert", &cert]).finish();
    assert!(
        text(&half.stderr).contains("--cert and --key go together"),
        "{half:?}"
    );
}
