//! The same page from `hyper`, a whole HTTP server, on tokio's `current_thread`.

use super::announce;
use super::protocol::BODY;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io;
use tokio::net::TcpListener;

pub fn serve() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let accepting = runtime.spawn(accept());
    runtime.block_on(accepting).expect("it does not panic")
}

async fn accept() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    announce(listener.local_addr()?);
    loop {
        let (stream, _peer) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let mut server = http1::Builder::new();
            let server = server.pipeline_flush(true);
            let talk = server.serve_connection(TokioIo::new(stream), service_fn(answer));
            // The client closes when it has had enough.
            let _closed = talk.await;
        });
    }
}

async fn answer(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut answer = Response::new(Full::new(Bytes::from_static(BODY.as_bytes())));
    let text = "text/plain".parse().expect("a header's value");
    answer.headers_mut().insert(CONTENT_TYPE, text);
    Ok(answer)
}
