//! Owns what is answered to what.

use super::files::{Files, Found, Opened};
use super::metrics;
use super::prometheus;
use super::request::{Head, Method};
use super::response::{Content, Response};
use super::status::Status;
use super::Service;

/// The path of files begins with it.
const FILES: &str = "/files";
const HTML: &str = "text/html; charset=utf-8";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    Home,
    Plain,
    Echo,
    Files,
    Tasks,
    Metrics,
    /// `OPTIONS`: what is allowed here.
    Allowed(&'static str),
}

/// Who may be asked what. A refusal is an answer, before the body is looked at.
pub fn find(head: &Head, service: &Service) -> Result<Route, Response> {
    let is_file = |path: &str| {
        path.strip_prefix(FILES)
            .is_some_and(|rest| rest.starts_with('/'))
    };
    let (route, allowed) = match &*head.path {
        "*" => return Ok(Route::Allowed("GET, HEAD, POST, OPTIONS")),
        "/" => (Route::Home, "GET, HEAD, OPTIONS"),
        "/plaintext" => (Route::Plain, "GET, HEAD, OPTIONS"),
        "/tasks" => (Route::Tasks, "GET, HEAD, OPTIONS"),
        "/metrics" => (Route::Metrics, "GET, HEAD, OPTIONS"),
        "/echo" => (Route::Echo, "POST, OPTIONS"),
        path if is_file(path) && service.files.is_some() => (Route::Files, "GET, HEAD, OPTIONS"),
        _ => return Err(Response::bare(Status::NOT_FOUND)),
    };
    match (head.method, route) {
        (Method::Options, _) => Ok(Route::Allowed(allowed)),
        (Method::Post, Route::Echo) => Ok(route),
        (
            Method::Get | Method::Head,
            Route::Home | Route::Plain | Route::Tasks | Route::Metrics | Route::Files,
        ) => Ok(route),
        _ => Err(Response::bare(Status::METHOD_NOT_ALLOWED).with("Allow", allowed)),
    }
}

/// What is answered, and the file of which the rest is to follow. May suspend.
pub fn answer(
    route: Route,
    head: &Head,
    body: Vec<u8>,
    service: &Service,
) -> (Response, Option<Opened>) {
    let files = service.files.as_ref();
    let whole = match route {
        Route::Home => Response::new(Status::OK, HTML, Content::Static(home(files.is_some()))),
        Route::Plain => {
            let content = Content::Static("Hello, World!");
            Response::new(Status::OK, "text/plain", content)
        }
        Route::Tasks => {
            let page = service.tasks.now().as_bytes().to_vec();
            Response::new(Status::OK, HTML, Content::Bytes(page)).with("Cache-Control", "no-store")
        }
        Route::Metrics => {
            let page = metrics::page(service).into_bytes();
            let response =
                Response::new(Status::OK, prometheus::CONTENT_TYPE, Content::Bytes(page));
            response.with("Cache-Control", "no-store")
        }
        // Not as what it came: a page of somebody else's would be ours.
        Route::Echo => Response::new(Status::OK, "application/octet-stream", Content::Bytes(body)),
        Route::Files => match files {
            Some(files) => return file(head, files),
            None => Response::bare(Status::NOT_FOUND),
        },
        Route::Allowed(methods) => Response::bare(Status::NO_CONTENT).with("Allow", methods),
    };
    (whole, None)
}

fn file(head: &Head, files: &Files) -> (Response, Option<Opened>) {
    let path = head.path.strip_prefix(FILES).unwrap_or_default();
    let opened = match files.find(path, head.method == Method::Get) {
        Ok(Found::File(opened)) => opened,
        Ok(Found::Folder(path)) => {
            let moved = Response::bare(Status::MOVED);
            return (moved.with("Location", FILES.to_owned() + &path), None);
        }
        Err(status) => return (Response::bare(status), None),
    };
    let modified = opened.modified.map(httpdate::HttpDate::from);
    let is_known = matches!((modified, head.has_since), (Some(modified), Some(since)) if modified <= since.into());
    let response = if is_known {
        Response::bare(Status::NOT_MODIFIED)
    } else {
        let content = Content::Coming(opened.length);
        Response::new(Status::OK, opened.content_type, content)
    };
    let response = match modified {
        Some(modified) => response.with("Last-Modified", modified.to_string()),
        None => response,
    };
    (response, (!is_known).then_some(opened))
}

fn home(has_files: bool) -> &'static str {
    macro_rules! page {
        ($more:literal) => {
            concat!(
                "<!doctype html>\n<html lang=en><meta charset=utf-8><title>multitask</title>\n",
                "<h1>A task for each connection</h1>\n<ul>\n",
                "<li><a href=/tasks>/tasks</a>: what the tasks of this server are doing\n",
                "<li><a href=/metrics>/metrics</a>: the numbers of this server, for Prometheus\n",
                "<li><a href=/plaintext>/plaintext</a>: a greeting\n",
                "<li>/echo: what is posted there comes back\n",
                $more,
                "</ul>\n</html>\n"
            )
        };
    }
    if has_files {
        page!("<li><a href=/files/>/files/</a>: files\n")
    } else {
        page!("")
    }
}
