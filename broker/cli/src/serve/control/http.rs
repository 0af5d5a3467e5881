//! As much of HTTP/1.1 as the endpoint speaks: a head without a body, and an answer that ends the connection.

use std::io;

use serde::Serialize;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// How many headers a request may have.
const HEADERS: usize = 64;

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: Method,
    /// Without the query.
    pub(super) path: String,
    /// What stands behind the question mark.
    pub(super) query: String,
    /// Whether a page in a browser asks.
    pub(super) is_of_page: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    /// As GET, without the body of the answer.
    Head,
    Post,
}

/// Why a request is not served.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BadRequest {
    Malformed,
    TooLarge,
    Method,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    BadRequest,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Conflict,
    HeadTooLarge,
    Failed,
    Unavailable,
}

#[derive(Debug)]
pub(super) struct Answer {
    status: Status,
    content_type: &'static str,
    body: String,
}

impl Request {
    /// Reads what has come so far; none if the head has not come to its end.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<Self>, BadRequest> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut head = httparse::Request::new(&mut headers);
        match head.parse(bytes) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err(BadRequest::TooLarge),
            Err(_) => return Err(BadRequest::Malformed),
        }
        let method = match head.method {
            Some("GET") => Method::Get,
            Some("HEAD") => Method::Head,
            Some("POST") => Method::Post,
            _ => return Err(BadRequest::Method),
        };
        let path = head.path.unwrap_or_default();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        // Browsers say where a page comes from whenever it sends something.
        let is_of_page = head.headers.iter().any(|header| header.name.eq_ignore_ascii_case("Origin"));
        Ok(Some(Self { method, path: path.to_owned(), query: query.to_owned(), is_of_page }))
    }

    pub(super) fn wants_body(&self) -> bool {
        self.method != Method::Head
    }

    #[cfg(test)]
    pub(super) fn of(method: Method, path: &str) -> Self {
        Self { method, path: path.to_owned(), query: String::new(), is_of_page: false }
    }
}

impl From<BadRequest> for Answer {
    fn from(bad: BadRequest) -> Self {
        match bad {
            BadRequest::Malformed => Self::text(Status::BadRequest, "that is no HTTP/1.1\n"),
            BadRequest::TooLarge => Self::text(Status::HeadTooLarge, "a request is smaller here\n"),
            BadRequest::Method => Self::text(Status::MethodNotAllowed, "there are GET, HEAD and POST\n"),
        }
    }
}

impl Answer {
    pub(super) const fn new(status: Status, content_type: &'static str, body: String) -> Self {
        Self { status, content_type, body }
    }

    pub(super) fn text(status: Status, body: &str) -> Self {
        Self::new(status, "text/plain; charset=utf-8", body.to_owned())
    }

    pub(super) fn json(status: Status, body: &impl Serialize) -> Self {
        let body = serde_json::to_string(body).unwrap_or_default();
        Self::new(status, "application/json", body + "\n")
    }

    /// Why something was not done, in a sentence.
    pub(super) fn error(status: Status, why: &str) -> Self {
        Self::json(status, &serde_json::json!({ "error": why }))
    }

    #[cfg(test)]
    pub(super) fn in_short(&self) -> String {
        format!("{} {}", self.status.line().0, self.body)
    }

    /// Head and body in one piece. A HEAD is told the length of what it does not get.
    fn into_bytes(self, with_body: bool) -> Vec<u8> {
        let Self { status, content_type, body } = self;
        let (code, reason) = status.line();
        let allow = if status == Status::MethodNotAllowed { "Allow: GET, HEAD, POST\r\n" } else { "" };
        let mut answer = format!(
            "HTTP/1.1 {code} {reason}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n{allow}Cache-Control: \
             no-store\r\nConnection: close\r\n\r\n",
            body.len()
        );
        if with_body {
            answer.push_str(&body);
        }
        answer.into_bytes()
    }

    /// Sends it and ends the connection.
    pub(super) async fn send(self, stream: &mut TcpStream, with_body: bool) -> io::Result<()> {
        stream.write_all(&self.into_bytes(with_body)).await?;
        stream.shutdown().await
    }
}

impl Status {
    const fn line(self) -> (u16, &'static str) {
        match self {
            Self::Ok => (200, "OK"),
            Self::BadRequest => (400, "Bad Request"),
            Self::Forbidden => (403, "Forbidden"),
            Self::NotFound => (404, "Not Found"),
            Self::MethodNotAllowed => (405, "Method Not Allowed"),
            Self::Conflict => (409, "Conflict"),
            Self::HeadTooLarge => (431, "Request Header Fields Too Large"),
            Self::Failed => (500, "Internal Server Error"),
            Self::Unavailable => (503, "Service Unavailable"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_when_its_head_is_whole() {
        let whole = b"GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\n\r\n";
        for cut in 0..whole.len() {
            assert_eq!(Request::read(&whole[..cut]), Ok(None), "{cut}");
        }
        let expected = Request { query: "x=1".to_owned(), ..Request::of(Method::Get, "/metrics") };
        assert_eq!(Request::read(whole), Ok(Some(expected)));
        let head = Request::read(b"HEAD / HTTP/1.0\r\n\r\n").unwrap().unwrap();
        assert!(!head.wants_body());
        let page = Request::read(b"POST / HTTP/1.1\r\norigin: http://a\r\n\r\n").unwrap().unwrap();
        assert_eq!((page.method, page.is_of_page), (Method::Post, true));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for (bytes, bad) in [
            (&b"\x00\x00\x00\x23\x00\x12"[..], BadRequest::Malformed),
            (b"GET / HTTP/2.0\r\n\r\n", BadRequest::Malformed),
            (b"PUT /metrics HTTP/1.1\r\n\r\n", BadRequest::Method),
        ] {
            assert_eq!(Request::read(bytes), Err(bad));
        }
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(HEADERS + 1));
        assert_eq!(Request::read(many.as_bytes()), Err(BadRequest::TooLarge));
    }

    #[test]
    fn an_answer_says_how_long_it_is() {
        let text =
            |with_body| String::from_utf8(Answer::from(BadRequest::Method).into_bytes(with_body)).unwrap();
        let (head, body) = (text(false), "there are GET, HEAD and POST\n");
        assert!(
            head.starts_with("HTTP/1.1 405 Method Not Allowed\r\n") && head.ends_with("\r\n\r\n"),
            "{head}"
        );
        assert!(
            head.contains(&format!("\r\nContent-Length: {}\r\nAllow: GET, HEAD, POST\r\n", body.len())),
            "{head}"
        );
        assert_eq!(text(true), head + body);
    }
}
