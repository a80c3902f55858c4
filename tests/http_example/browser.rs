//! Pages in a browser without a window. It is told what to do, and asked what it shows, by the protocol of its own developer tools: messages in
//! JSON through a WebSocket.

use crate::peers::{get, run, serving, Folder, Serving};
use crate::programs::{is_installed, Program, PATIENCE};
use serde_json::{json, Value};
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::Command;
use tungstenite::{Message, WebSocket};

const FLAGS: [&str; 4] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
];

#[test]
fn the_first_page_is_shown_by_a_browser() {
    if !is_installed("chromium", "chromium") {
        return;
    }
    let server = serving(&[]);
    let page = run(
        "chromium",
        &[&FLAGS[..], &["--dump-dom", &server.url("/")]].concat(),
    );
    assert!(
        page.contains("<h1>A task for each connection</h1>"),
        "{page}"
    );
    assert!(page.contains(r#"<a href="/tasks">"#), "{page}");
    server.stop("TERM");
}

#[test]
fn the_page_of_tasks_shows_them_and_what_comes_later_without_being_asked_again() {
    if !is_installed("chromium", "chromium") {
        return;
    }
    let server = serving(&[]);
    let mut browser = Browser::start();
    browser.open(&server.url("/tasks"));
    browser.wait_for_page();
    let tasks = browser.text_of("td:nth-child(2)");
    assert!(tasks.contains(&"server".to_owned()), "{tasks:?}");
    let waits = browser.text_of("td:nth-child(4)");
    assert!(
        waits.iter().any(|wait| wait.contains("signal")),
        "{waits:?}"
    );
    let before = browser.text_of("tbody tr").len();

    let mut idle = [(); 5].map(|()| server.client());
    idle.iter_mut().for_each(|client| client.is_served());
    // Nobody tells the browser: the page loads itself again.
    browser.wait_until(|browser| browser.text_of("tbody tr").len() >= before + idle.len());
    drop(idle);
    browser.wait_until(|browser| browser.text_of("tbody tr").len() <= before + 1);
    drop(browser);
    server.stop("TERM");
}

#[test]
fn the_page_of_tasks_says_what_each_waits_for_since_when_and_on_how_much_stack() {
    let server = serving(&[]);
    let mut idle = server.client();
    idle.is_served();
    let mut asks = server.client();
    asks.says(get("/tasks").as_bytes());
    let page = String::from_utf8(asks.hears().body).unwrap();
    let rows: Vec<Vec<_>> = page
        .lines()
        .filter_map(|line| Some(line.strip_prefix("<tr><td>")?.split("<td>").collect()))
        .collect();
    let one = |column: usize, what: &str| {
        let mut found = rows.iter().filter(|row| row[column] == what);
        found
            .next()
            .unwrap_or_else(|| panic!("no {what:?} in {page}"))
    };
    one(1, "server");
    let running = one(2, "running");
    assert!(
        running[7].contains("examples/http/mod.rs:"),
        "the handler's place: {running:?}"
    );
    let idle = one(3, "waiting to read");
    assert_eq!(idle[7], running[7], "another connection");
    let since = idle[4].strip_suffix(" s").unwrap();
    assert!(since.parse::<f64>().unwrap() < 60.0, "{since}");
    let (used, size) = idle[5].split_once(" of ").unwrap();
    let kib = |text: &str| text.strip_suffix(" KiB").unwrap().parse::<f64>().unwrap();
    assert!(kib(used) > 0.0 && kib(used) < kib(size), "{idle:?}");
    server.stop("TERM");
}

/// A browser at work, with one page.
struct Browser {
    page: WebSocket<TcpStream>,
    /// Of the last message.
    id: u64,
    _program: Program,
    _profile: Folder,
}

impl Browser {
    fn start() -> Browser {
        let profile = Folder::new("browser");
        let folder = format!("--user-data-dir={}", profile.0.display());
        let mut command = Command::new("chromium");
        command
            .args(FLAGS)
            .args([&folder, "--remote-debugging-port=0", "about:blank"]);
        let mut program = Program::from(&mut command);
        let said = BufReader::new(program.child.stderr.take().unwrap()).lines();
        // `DevTools listening on ws://127.0.0.1:40000/devtools/browser/..`
        let mut addrs = said.filter_map(|line| {
            let line = line.unwrap();
            let addr = line.strip_prefix("DevTools listening on ws://")?;
            Some(addr.split('/').next().unwrap().to_owned())
        });
        let addr = addrs.next().expect("it says where it listens");
        std::thread::spawn(move || addrs.for_each(drop)); // what else it says

        let pages = Serving::body(&addr, "/json/list");
        let pages: Value = serde_json::from_str(&pages).unwrap();
        let pages = pages.as_array().unwrap();
        let page = pages
            .iter()
            .find(|target| target["type"] == "page")
            .unwrap();
        let url = page["webSocketDebuggerUrl"].as_str().unwrap();
        let stream = TcpStream::connect(&addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (page, _answer) = tungstenite::client(url, stream).unwrap();
        Browser {
            page,
            id: 0,
            _program: program,
            _profile: profile,
        }
    }

    fn open(&mut self, url: &str) {
        self.call("Page.enable", json!({}));
        self.call("Page.navigate", json!({ "url": url }));
    }

    /// Until a page has been loaded.
    fn wait_for_page(&mut self) {
        while self.next()["method"] != "Page.loadEventFired" {}
    }

    /// Until this is so of a page that has been loaded.
    fn wait_until(&mut self, is_so: impl Fn(&mut Browser) -> bool) {
        loop {
            self.wait_for_page();
            if is_so(self) {
                return;
            }
        }
    }

    /// Of each element that the selector finds.
    fn text_of(&mut self, selector: &str) -> Vec<String> {
        let script = format!("JSON.stringify([...document.querySelectorAll('{selector}')].map(one => one.innerText))");
        let told = self.call("Runtime.evaluate", json!({ "expression": script }));
        // Nothing, if the next page came in between.
        let text = told["result"]["result"]["value"].as_str().unwrap_or("[]");
        serde_json::from_str(text).unwrap()
    }

    /// The answer; what else comes meanwhile is not listened to.
    fn call(&mut self, method: &str, params: Value) -> Value {
        self.id += 1;
        let message = json!({ "id": self.id, "method": method, "params": params });
        self.page.send(Message::text(message.to_string())).unwrap();
        loop {
            let told = self.next();
            if told["id"] == self.id {
                return told;
            }
        }
    }

    fn next(&mut self) -> Value {
        let message = self.page.read().unwrap();
        serde_json::from_str(message.to_text().unwrap()).unwrap()
    }
}
