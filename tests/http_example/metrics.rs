//! The page of numbers, read as strictly as Prometheus does: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use super::peers::{curl, get, serving, serving_tls};
use super::programs::files::Folder;
use super::programs::is_installed;
use std::collections::BTreeMap;

/// What a page says: the value of each sample by its name and labels.
fn parsed(page: &str) -> BTreeMap<&str, u64> {
    assert!(page.ends_with('\n'), "the last line ends as well");
    let mut samples = BTreeMap::new();
    let mut families = Vec::new();
    let mut lines = page.lines().peekable();
    while let Some(help) = lines.next() {
        let help = help.strip_prefix("# HELP ").expect("a family begins");
        let (name, text) = help.split_once(' ').expect("a name and a text");
        assert!(!text.is_empty() && !text.contains('\\'), "{text}");
        let is_of_a_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        assert!(!name.starts_with(|c: char| c.is_ascii_digit()));
        assert!(name.chars().all(is_of_a_name), "{name}");
        assert!(!families.contains(&name), "{name} is there twice");
        families.push(name);

        let kind = lines.next().and_then(|line| line.strip_prefix("# TYPE "));
        let (typed, kind) = kind.and_then(|kind| kind.split_once(' ')).expect("a type");
        assert_eq!(typed, name);
        let is_counted = name.ends_with("_total");
        assert_eq!(kind, if is_counted { "counter" } else { "gauge" }, "{name}");

        let mut own = 0;
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            let (sample, value) = line.rsplit_once(' ').expect("a value");
            let labels = sample.strip_prefix(name).expect("a sample of its family");
            assert!(labels.is_empty() || is_labels(labels), "{labels}");
            let value = value.parse().expect("a number");
            assert_eq!(samples.insert(sample, value), None, "{sample}");
            own += 1;
        }
        assert!(own > 0, "{name} has no sample");
    }
    samples
}

/// One label is all that there ever is here.
fn is_labels(labels: &str) -> bool {
    let inner = labels
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'));
    let pair = inner.and_then(|pair| pair.split_once('='));
    pair.is_some_and(|(label, value)| {
        let value = value
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'));
        label.chars().all(|c| c.is_ascii_lowercase())
            && value.is_some_and(|value| !value.contains(['"', '\\']))
    })
}

#[test]
fn curl_reads_the_numbers_of_what_was_asked_and_of_the_tasks() {
    if !is_installed("curl", "curl") {
        return;
    }
    let server = serving(&[]);
    let mut client = server.client();
    for (path, status) in [("/plaintext", 200), ("/nothing", 404), ("/plaintext", 200)] {
        client.says(get(path).as_bytes());
        assert_eq!(client.hears().status, status);
    }
    let whole = curl(&["--include", &server.url("/metrics")]);
    let (head, page) = whole.split_once("\r\n\r\n").unwrap();
    let said = "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n";
    assert!(head.contains(said), "{head}");

    let numbers = parsed(page);
    let of = |name: &str| {
        *numbers
            .get(name)
            .unwrap_or_else(|| panic!("{name}: {page}"))
    };
    assert_eq!(of("http_connections_total"), 2);
    assert_eq!(of("http_connections_open"), 2);
    assert_eq!(of("http_requests_total"), 4);
    assert_eq!(of(r#"http_responses_total{class="2xx"}"#), 2);
    assert_eq!(of(r#"http_responses_total{class="4xx"}"#), 1);
    assert_eq!(of(r#"http_responses_total{class="5xx"}"#), 0);
    assert_eq!(of("multitask_workers"), 1);
    let (spawned, ended) = (
        of("multitask_tasks_spawned_total"),
        of("multitask_tasks_ended_total"),
    );
    assert_eq!(of("multitask_tasks_live"), spawned - ended);
    // The server's own, and one for each connection.
    assert!(of("multitask_tasks_live") >= 3, "{page}");
    assert_eq!(of("multitask_tasks_panicked_total"), 0);

    let later = curl(&[&server.url("/metrics")]);
    let later = parsed(&later);
    for (name, before) in &numbers {
        let grows = name.split('{').next().unwrap().ends_with("_total");
        assert!(!grows || later[name] >= *before, "{name}");
    }
    assert_eq!(later["http_requests_total"], 5);
}

#[test]
fn over_tls_it_is_the_same_page() {
    if !is_installed("curl", "curl") {
        return;
    }
    let folder = Folder::new();
    let cert = folder.path("cert.pem");
    let server = serving_tls(&["--save-cert", &cert]);
    let page = curl(&["--cacert", &cert, &server.url("/metrics")]);
    assert_eq!(parsed(&page)["http_requests_total"], 1);
}
