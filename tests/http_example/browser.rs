//! Pages in a browser without a window.

use crate::peers::{run, serving};
use crate::programs::is_installed;

/// What it makes of a page.
fn shown(url: &str) -> String {
    run(
        "chromium",
        &[
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--dump-dom",
            url,
        ],
    )
}

#[test]
fn the_first_page_is_shown_by_a_browser() {
    if !is_installed("chromium", "chromium") {
        return;
    }
    let server = serving(&[]);
    let page = shown(&server.url("/"));
    assert!(
        page.contains("<h1>A task for each connection</h1>"),
        "{page}"
    );
    assert!(page.contains(r#"<a href="/plaintext">"#), "{page}");
    server.stop("TERM");
}
