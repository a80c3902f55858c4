//! A browser without a window. It is told what to do, and asked what it shows, by the protocol of its own developer tools: messages in
//! JSON through a WebSocket, one for the browser and one for each tab.

use super::files::Folder;
use super::{Program, PATIENCE};
use serde_json::{json, Value};
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::Command;
use tungstenite::{Message, WebSocket};

pub const FLAGS: [&str; 4] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
];

/// A browser at work.
pub struct Browser {
    itself: Tools,
    addr: String,
    _program: Program,
    _profile: Folder,
}

impl Browser {
    pub fn start() -> Browser {
        let profile = Folder::new();
        let folder = format!("--user-data-dir={}", profile.0.display());
        let mut command = Command::new("chromium");
        command
            .args(FLAGS)
            .args([&folder, "--remote-debugging-port=0", "about:blank"]);
        let mut program = Program::from(&mut command);
        let said = BufReader::new(program.child.stderr.take().unwrap()).lines();
        // `DevTools listening on ws://127.0.0.1:40000/devtools/browser/..`
        let mut urls = said.filter_map(|line| {
            let line = line.unwrap();
            Some(line.strip_prefix("DevTools listening on ")?.to_owned())
        });
        let url = urls.next().expect("it says where it listens");
        std::thread::spawn(move || urls.for_each(drop)); // what else it says
        Browser {
            itself: Tools::connected(&url),
            addr: url.split('/').nth(2).unwrap().to_owned(),
            _program: program,
            _profile: profile,
        }
    }

    pub fn tab(&mut self) -> Tab {
        let blank = json!({ "url": "about:blank" });
        let made = self.itself.call("Target.createTarget", blank);
        let id = made["result"]["targetId"].as_str().unwrap();
        Tab(Tools::connected(&format!(
            "ws://{}/devtools/page/{id}",
            self.addr
        )))
    }
}

/// One page.
pub struct Tab(Tools);

impl Tab {
    /// Returns when the page has been loaded.
    pub fn open(&mut self, url: &str) {
        self.0.call("Page.enable", json!({}));
        self.0.call("Page.navigate", json!({ "url": url }));
        self.wait_for_page();
    }

    /// Until a page has been loaded.
    fn wait_for_page(&mut self) {
        while self.0.next()["method"] != "Page.loadEventFired" {}
    }

    /// Until this is so of a page that has been loaded.
    pub fn wait_until(&mut self, is_so: impl Fn(&mut Tab) -> bool) {
        loop {
            self.wait_for_page();
            if is_so(self) {
                return;
            }
        }
    }

    /// Of each element that the selector finds.
    pub fn text_of(&mut self, selector: &str) -> Vec<String> {
        let script = format!("JSON.stringify([...document.querySelectorAll('{selector}')].map(one => one.innerText))");
        // Nothing, if the next page came in between.
        let told = self.evaluate(&script);
        serde_json::from_str(told.as_str().unwrap_or("[]")).unwrap()
    }

    /// Until the page shows this text, which it may do already; returns all that it shows then.
    pub fn wait_for_text(&mut self, text: &str) -> String {
        let script = format!(
            "new Promise(done => {{
                const look = () => document.body.innerText.includes({text:?}) && done(document.body.innerText);
                new MutationObserver(look).observe(document, {{ subtree: true, childList: true, characterData: true }});
                look();
            }})"
        );
        let told = self.evaluate(&script);
        told.as_str().unwrap_or_else(|| panic!("{told}")).to_owned()
    }

    /// What becomes of a script, or of the promise that it makes.
    pub fn evaluate(&mut self, script: &str) -> Value {
        let script = json!({ "expression": script, "awaitPromise": true });
        self.0.call("Runtime.evaluate", script)["result"]["result"]["value"].take()
    }
}

/// The developer tools of a browser, or of a page.
struct Tools {
    socket: WebSocket<TcpStream>,
    /// Of the last message.
    id: u64,
}

impl Tools {
    fn connected(url: &str) -> Tools {
        let stream = TcpStream::connect(url.split('/').nth(2).unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (socket, _answer) = tungstenite::client(url, stream).unwrap();
        Tools { socket, id: 0 }
    }

    /// The answer; what else comes meanwhile is not listened to.
    fn call(&mut self, method: &str, params: Value) -> Value {
        self.id += 1;
        let message = json!({ "id": self.id, "method": method, "params": params });
        self.socket
            .send(Message::text(message.to_string()))
            .unwrap();
        loop {
            let told = self.next();
            if told["id"] == self.id {
                return told;
            }
        }
    }

    fn next(&mut self) -> Value {
        let message = self.socket.read().unwrap();
        serde_json::from_str(message.to_text().unwrap()).unwrap()
    }
}
