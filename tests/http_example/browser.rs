//! Pages in a browser without a window.

use crate::peers::{get, run, serving};
use crate::programs::browser::{Browser, FLAGS};
use crate::programs::is_installed;

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
    let mut tab = browser.tab();
    tab.open(&server.url("/tasks"));
    let tasks = tab.text_of("td:nth-child(2)");
    assert!(tasks.contains(&"server".to_owned()), "{tasks:?}");
    let waits = tab.text_of("td:nth-child(4)");
    assert!(
        waits.iter().any(|wait| wait.contains("signal")),
        "{waits:?}"
    );
    let before = tab.text_of("tbody tr").len();

    let mut idle = [(); 5].map(|()| server.client());
    idle.iter_mut().for_each(|client| client.is_served());
    // Nobody tells the browser: the page loads itself again.
    tab.wait_until(|tab| tab.text_of("tbody tr").len() >= before + idle.len());
    drop(idle);
    tab.wait_until(|tab| tab.text_of("tbody tr").len() <= before + 1);
    drop((tab, browser));
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
