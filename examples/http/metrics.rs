//! Owns the numbers of the server, and which of them Prometheus reads.

use super::prometheus::{Page, COUNTER, GAUGE};
use super::status::Status;
use super::Service;
use multitask::Handle;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What the connections count.
#[derive(Default)]
pub struct Numbers {
    requests: AtomicU64,
    /// By the first digit of the status, from 1 to 5.
    answers: [AtomicU64; 5],
}

impl Numbers {
    pub fn count_request(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    pub fn count_answer(&self, status: Status) {
        if let Some(class) = self
            .answers
            .get(usize::from(status.0 / 100).wrapping_sub(1))
        {
            class.fetch_add(1, Relaxed);
        }
    }

    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }
}

/// The page as it is now.
pub fn page(service: &Service) -> String {
    let mut page = Page::default();
    let numbers = &service.numbers;
    let mut put = |kind, name, help, value| page.family(kind, name, help, &[("", value)]);
    put(
        COUNTER,
        "http_connections_total",
        "Connections that were accepted.",
        service.guests.accepted(),
    );
    put(
        GAUGE,
        "http_connections_open",
        "Connections that are open.",
        service.guests.open() as u64,
    );
    put(
        COUNTER,
        "http_requests_total",
        "Requests that were understood.",
        numbers.requests(),
    );
    let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"].map(|class| format!("{{class=\"{class}\"}}"));
    let answers: Vec<_> = classes
        .iter()
        .zip(&numbers.answers)
        .map(|(class, count)| (&**class, count.load(Relaxed)))
        .collect();
    page.family(
        COUNTER,
        "http_responses_total",
        "Answers, by the class of their status.",
        &answers,
    );
    // Requests are answered by tasks.
    if let Some(tasks) = Handle::current() {
        page.scheduler(&tasks);
    }
    page.text
}
