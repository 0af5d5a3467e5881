//! `highwater serve --control`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

use rustix::process::Signal;

use crate::harness::{Broker, finish, highwater, next_line};

/// The whole answer to these bytes.
fn ask(address: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

pub(crate) fn get(address: &str, path: &str) -> (u16, String) {
    let answer = ask(address, format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// The value of a sample.
pub(crate) fn value(metrics: &str, sample: &str) -> Option<f64> {
    let line = metrics.lines().find(|line| line.starts_with(&format!("{sample} ")))?;
    Some(line.rsplit(' ').next().unwrap().parse().unwrap())
}

#[test]
fn it_says_that_it_is_well_and_what_it_does() {
    let broker = Broker::start(&["--memory", "--control", "0"]);
    let control = broker.ready["control"].as_str().unwrap();
    assert!(control.starts_with("127.0.0.1:"), "{control}");
    for path in ["/health", "/ready", "/ready?verbose"] {
        assert_eq!(get(control, path), (200, "{\"status\":\"ready\"}\n".to_owned()), "{path}");
    }
    broker.topic("orders", &["-p", "2"]);
    broker.produce(&["-t", "orders", "-p", "1"], "one\ntwo\n");
    assert_eq!(broker.consume(&["-t", "orders"]), "one\ntwo\n");
    let (status, metrics) = get(control, "/metrics");
    assert_eq!(status, 200);
    for (sample, expected) in [
        ("highwater_up{node=\"0\"}", 1.0),
        ("highwater_appended_records_total{node=\"0\"}", 2.0),
        ("highwater_requests_total{node=\"0\",api=\"CreateTopics\"}", 1.0),
        ("highwater_topics{node=\"0\"}", 1.0),
        ("highwater_partition_log_end_offset{node=\"0\",topic=\"orders\",partition=\"0\"}", 0.0),
        ("highwater_partition_log_end_offset{node=\"0\",topic=\"orders\",partition=\"1\"}", 2.0),
    ] {
        assert_eq!(value(&metrics, sample), Some(expected), "{sample} in\n{metrics}");
    }
    for sample in ["highwater_received_bytes_total{node=\"0\"}", "highwater_sent_bytes_total{node=\"0\"}"] {
        assert!(value(&metrics, sample).unwrap() > 0.0);
    }
    assert!(broker.end(Signal::TERM).success());
}

#[test]
fn what_is_not_served_is_refused() {
    let broker = Broker::start(&["--memory", "--control", "127.0.0.1:0"]);
    let control = broker.ready["control"].as_str().unwrap();
    assert_eq!(get(control, "/"), (404, "there are /health, /ready, /metrics and /nodes\n".to_owned()));
    let head = ask(control, b"HEAD /ready HTTP/1.1\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    let endless = [&b"GET / HTTP/1.1\r\nA: "[..], &[b'a'; 9000]].concat();
    for (bytes, status) in [
        (&b"DELETE / HTTP/1.1\r\n\r\n"[..], "405 Method Not Allowed"),
        (b"\x00\x00\x00\x10\x00\x12\x00\x04", "400 Bad Request"),
        (&endless[..8192], "431 Request Header Fields Too Large"),
    ] {
        let answer = ask(control, bytes);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
    }
    // Someone who says nothing keeps nobody else waiting, nor the broker from stopping.
    let silent = TcpStream::connect(control).unwrap();
    assert_eq!(get(control, "/health").0, 200);
    assert!(broker.end(Signal::TERM).success());
    drop(silent);
}

#[test]
fn people_are_told_where_it_is() {
    let args = ["serve", "--memory", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"];
    let mut process = highwater(&args).stderr(Stdio::inherit()).spawn().unwrap();
    let mut stdout = process.stdout.take().unwrap();
    assert!(next_line(&mut stdout).contains(": node 0 listens on "));
    let line = next_line(&mut stdout);
    let control = line.strip_prefix("/health, /ready, /metrics and /nodes are on http://").unwrap();
    assert_eq!(get(control, "/ready").0, 200);
    process.kill().unwrap();
    process.wait().unwrap();
}

#[test]
fn a_place_where_it_cannot_listen() {
    let broker = Broker::start(&["--memory", "--control", "0"]);
    let taken = broker.ready["control"].as_str().unwrap();
    let said = finish(highwater(&["serve", "--memory", "--control", taken]).spawn().unwrap(), b"").failure();
    let advice = "another program listens there; end it, or choose another port with --control HOST:PORT";
    assert!(said.starts_with(&format!("highwater: cannot listen on {taken}: {advice}")), "{said}");
    for (place, words) in [("nonsense:x", "invalid port value"), ("99999", "invalid port value")] {
        let args = ["serve", "--memory", "--listen", "127.0.0.1:0", "--control", place];
        let said = finish(highwater(&args).spawn().unwrap(), b"").failure();
        assert!(
            said.starts_with(&format!("highwater: --control {place}: ")) && said.contains(words),
            "{said}"
        );
    }
}
