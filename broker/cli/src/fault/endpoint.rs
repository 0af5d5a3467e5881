//! Reaching the control endpoint of a broker: one request a connection, as much of HTTP as that needs.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::arguments;

/// What connecting may take where `--timeout` leaves it more.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// The largest answer that is read.
const ANSWER_BYTES: u64 = 1024 * 1024;
/// How many headers an answer may have.
const HEADERS: usize = 64;

/// Where orders go, and how much patience with them.
#[derive(Debug, Args)]
#[command(next_help_heading = "The broker")]
pub(super) struct Control {
    /// Where the broker takes orders, as its `serve --control` says; a port alone is one of this machine.
    #[arg(long = "control", value_name = "[HOST:]PORT", env = "HIGHWATER_CONTROL")]
    address: String,
    /// How long to wait until it is done, as 500ms, 10s or 2m.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = arguments::duration)]
    timeout: Duration,
}

/// A node as the endpoint tells of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Node {
    pub(super) id: i32,
    pub(super) state: String,
    pub(super) listen: Vec<String>,
    pub(super) holds: Option<usize>,
    pub(super) leads: Option<usize>,
    pub(super) in_sync: Option<usize>,
    pub(super) cut_from: Vec<String>,
}

/// Why something was not done.
#[derive(Debug, Deserialize)]
struct Refused {
    error: String,
}

impl Control {
    /// Asks for something, and reads what it is.
    pub(super) fn ask<T: DeserializeOwned>(&self, method: &str, path: &str) -> anyhow::Result<T> {
        let address = self.whole();
        let deadline = Instant::now() + self.timeout;
        let mut stream = self.connect(&address)?;
        let host = if address.chars().any(|c| c.is_whitespace() || c.is_control()) { "" } else { &address };
        let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n");
        let answer = stream.write_all(request.as_bytes()).and_then(|()| read_until(&mut stream, deadline));
        let answer = answer.map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
                anyhow!("{address} did not answer within {:?}: whether it is done is not known", self.timeout)
            }
            _ => anyhow::Error::new(error).context(format!("{address} broke the connection off")),
        })?;
        let Some((status, body)) = split(&answer) else { bail!(no_endpoint(&address)) };
        if status == 200 {
            return serde_json::from_slice(body).with_context(|| no_endpoint(&address));
        }
        match serde_json::from_slice(body) {
            Ok(Refused { error }) => bail!(with_advice(error)),
            Err(_) => bail!(no_endpoint(&address)),
        }
    }

    fn whole(&self) -> String {
        if self.address.contains(':') { self.address.clone() } else { format!("127.0.0.1:{}", self.address) }
    }

    fn connect(&self, address: &str) -> anyhow::Result<TcpStream> {
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "no such host");
        let places = address
            .to_socket_addrs()
            .with_context(|| format!("--control {} is no [HOST:]PORT", self.address))?;
        for place in places {
            match TcpStream::connect_timeout(&place, CONNECT_LIMIT.min(self.timeout)) {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = error,
            }
        }
        let port = address.rsplit(':').next().unwrap_or_default();
        Err(anyhow!(
            "no broker takes orders at {address}: {failure} (`highwater serve --control {port}` starts one that does)"
        ))
    }
}

/// The whole answer, if it comes in time.
fn read_until(stream: &mut TcpStream, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    while (answer.len() as u64) < ANSWER_BYTES {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut piece)? {
            0 => break,
            count => answer.extend_from_slice(&piece[..count]),
        }
    }
    Ok(answer)
}

/// Status and body; none if it is no HTTP.
fn split(answer: &[u8]) -> Option<(u16, &[u8])> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    match head.parse(answer) {
        Ok(httparse::Status::Complete(len)) => Some((head.code?, &answer[len..])),
        _ => None,
    }
}

fn no_endpoint(address: &str) -> String {
    format!(
        "what listens at {address} is no control endpoint of Highwater (`highwater serve --control` has one)"
    )
}

/// What the broker says, with what can be done about it here.
fn with_advice(error: String) -> String {
    if error.contains("may lose their power") {
        format!("{error} (`highwater serve --may-lose-power` does)")
    } else {
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_its_status_and_its_body() {
        assert_eq!(split(b"HTTP/1.1 409 Conflict\r\nA: b\r\n\r\n{}"), Some((409, &b"{}"[..])));
        for wrong in [&b""[..], b"HTTP/1.1 409 Conf", b"\x00\x00\x00\x10", b"HTTP/1.1 200 OK\r\n"] {
            assert_eq!(split(wrong), None);
        }
    }
}
