//! Owns the form of an answer.

use super::status::Status;
use httpdate::HttpDate;
use std::io::Write;
use std::time::SystemTime;

/// An answer, but for the body of one that comes in pieces.
pub struct Response {
    pub status: Status,
    pub content_type: &'static str,
    pub content: Content,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
}

pub enum Content {
    Static(&'static str),
    Bytes(Vec<u8>),
    /// So many bytes, which follow.
    Coming(u64),
}

impl Response {
    pub fn new(status: Status, content_type: &'static str, content: Content) -> Self {
        Response {
            status,
            content_type,
            content,
            headers: Vec::new(),
        }
    }

    /// What is said when there is nothing else to say: the status in words.
    pub fn bare(status: Status) -> Self {
        let content = if status.has_no_body() {
            Vec::new()
        } else {
            format!("{} {}\n", status.0, status.reason()).into()
        };
        let content = Content::Bytes(content);
        Response::new(status, "text/plain; charset=utf-8", content)
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Appends the head. `connection` is the header of that name, where there has to be one.
    pub fn write_head(&self, to: &mut Vec<u8>, connection: Option<&str>) {
        let status = self.status;
        let date = HttpDate::from(SystemTime::now());
        // Writing to a `Vec` does not fail.
        let mut line = |line: std::fmt::Arguments| _ = to.write_fmt(line);
        line(format_args!(
            "HTTP/1.1 {} {}\r\nDate: {date}\r\n",
            status.0,
            status.reason()
        ));
        if !status.has_no_body() {
            line(format_args!(
                "Content-Type: {}\r\nContent-Length: {}\r\nX-Content-Type-Options: nosniff\r\n",
                self.content_type,
                self.content.len()
            ));
        }
        for (name, value) in &self.headers {
            line(format_args!("{name}: {value}\r\n"));
        }
        if let Some(connection) = connection {
            line(format_args!("Connection: {connection}\r\n"));
        }
        line(format_args!("\r\n"));
    }
}

impl Content {
    fn len(&self) -> u64 {
        match self {
            Content::Coming(length) => *length,
            here => here.bytes().len() as u64,
        }
    }

    /// What of it is here.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Content::Static(text) => text.as_bytes(),
            Content::Bytes(bytes) => bytes,
            Content::Coming(_) => &[],
        }
    }
}
