//! What goes wrong is said so that one can act on it.

use std::io::Write;
use std::net::TcpListener;

use rustix::process::Signal;

use crate::harness::{Broker, finish, highwater, hold, next_line, signal};

#[test]
fn nobody_listens() {
    // Free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for args in
        [&["topic", "list"][..], &["topic", "delete", "t"], &["produce", "-t", "t"], &["consume", "-t", "t"]]
    {
        let said = finish(highwater(&[args, &["-b", &address]].concat()).spawn().unwrap(), b"").failure();
        let (start, end) = (
            format!("highwater: no broker answers at {address}: Connection refused"),
            "(`highwater serve` starts one on this machine; -b HOST:PORT names another)\n",
        );
        assert!(said.starts_with(&start) && said.ends_with(end), "{said}");
    }
}

#[test]
fn somebody_listens_and_never_answers() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let args = ["topic", "list", "-b", &address, "--timeout", "50ms"];
    let said = finish(highwater(&args).spawn().unwrap(), b"").failure();
    assert!(said.starts_with(&format!("highwater: no broker answers at {address}: ")), "{said}");
}

#[test]
fn somebody_listens_and_is_no_kafka_broker() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let said = finish(highwater(&["topic", "list", "-b", &address]).spawn().unwrap(), b"").failure();
    let expected =
        format!("highwater: no broker answers at {address}: this is an HTTP server, no Kafka broker (");
    assert!(said.starts_with(&expected), "{said}");
    server.join().unwrap();
}

#[test]
fn one_of_several_addresses_is_enough() {
    let broker = Broker::in_memory();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    broker.topic("t", &["-b", &format!("{gone}, {}", broker.address)]);
    assert_eq!(broker.run(&["topic", "list"]).text(), "t\n");
}

#[test]
fn arguments_that_cannot_be() {
    for args in [
        &[][..],
        &["nonsense"],
        &["produce"],
        &["produce", "-t", "t", "-z", "rar"],
        &["produce", "-t", "t", "--acks", "2"],
        &["produce", "-t", "t", "-k", "k", "-K", ":"],
        &["produce", "-t", "t", "-D", ""],
        &["produce", "-t", "t", "--linger", "5"],
        &["produce", "-t", "t", "-p", "-1"],
        &["produce", "--json", "-k", "k"],
        &["consume"],
        &["consume", "-t", ""],
        &["consume", "-t", "t", "-g", ""],
        &["consume", "-t", "t", "--metadata-age", "0s"],
        &["consume", "-t", "t", "-o", "stored"],
        &["consume", "-t", "t", "-f", "%x"],
        &["consume", "-t", "t", "-f", "%s", "--json"],
        &["consume", "-t", "t", "--isolation", "dirty"],
        &["topic"],
        &["topic", "list", "--timeout", "0s"],
    ] {
        let said = finish(highwater(args).spawn().unwrap(), b"").usage_error();
        assert!(said.contains("Usage: ") || said.starts_with("error: invalid value"), "{args:?}: {said}");
    }
    let wrong = ["topic", "list", "-b", "x:y"];
    let said = finish(highwater(&wrong).spawn().unwrap(), b"").failure();
    assert_eq!(said, "highwater: --bootstrap: \"x:y\" is not host:port\n");
}

#[test]
fn a_topic_that_is_not_there() {
    let broker = Broker::start(&["--memory", "-c", "auto.create.topics.enable=false"]);
    let missing = "topic t does not exist (`highwater topic list` names those that do)";
    assert_eq!(broker.run(&["consume", "-t", "t"]).failure(), format!("highwater: {missing}\n"));
    let said = broker.run_with(&["produce", "-t", "t", "--timeout", "2s"], "x\n").failure();
    assert!(
        said.contains("UNKNOWN_TOPIC_OR_PARTITION") && said.ends_with("; no record was stored\n"),
        "{said}"
    );
}

#[test]
fn what_was_stored_before_the_failure_is_counted() {
    let broker = Broker::in_memory();
    broker.topic("t", &[]);
    for (args, input, expected) in [
        (
            &["--json"][..],
            "{\"value\":\"a\"}\n{\"value\":\"b\"}\n{\"value\":1}\n",
            "standard input, record 3: invalid type: integer `1`, expected a string at line 1 column 10; 2 records \
             were stored",
        ),
        (
            &["--json"],
            "{}\n{",
            "standard input, record 2: EOF while parsing an object at line 1 column 1; 1 record was stored",
        ),
        (
            &["--json"],
            "{\"partition\":1}",
            "standard input, record 1: topic t has partitions 0 to 0, not 1; no record was stored",
        ),
        (&["/nonexistent"], "", "/nonexistent: No such file or directory (os error 2); no record was stored"),
    ] {
        let said = broker.run_with(&[&["produce", "-t", "t"], args].concat(), input).failure();
        assert_eq!(said, format!("highwater: {expected}\n"));
    }
    let said = broker.run_with(&["produce", "--json"], "{}").failure();
    assert!(said.contains("record 1: the record names no topic, and there is no --topic"), "{said}");
}

#[test]
fn a_record_larger_than_the_topic_takes() {
    let broker = Broker::in_memory();
    broker.topic("t", &["-c", "max.message.bytes=1000"]);
    let input = ["small\n".to_owned(), "x".repeat(2000), "\n".to_owned()].concat();
    let said = broker.run_with(&["produce", "-t", "t"], input).failure();
    assert!(said.starts_with("highwater: delivery to t-0 was refused: MESSAGE_TOO_LARGE (10): "), "{said}");
    assert!(said.ends_with("; 1 record was stored\n"), "{said}");
    assert_eq!(broker.consume(&["-t", "t"]), "small\n");
}

#[test]
fn a_record_without_an_answer_may_be_stored() {
    let broker = Broker::in_memory();
    broker.topic("t", &[]);
    let mut producing = broker.spawn(&["produce", "-v", "-t", "t", "--timeout", "3s"]);
    let mut stdin = producing.stdin.take().unwrap();
    stdin.write_all(b"one\n").unwrap();
    assert_eq!(next_line(producing.stdout.as_mut().unwrap()), "t-0@0");
    hold(&broker.process);
    stdin.write_all(b"two\n").unwrap();
    drop(stdin);
    let said = finish(producing, b"").failure();
    assert!(said.ends_with("; 1 record was stored, 1 more may be stored nevertheless\n"), "{said}");
    signal(&broker.process, Signal::CONT);
    // It was in the socket all the time.
    assert_eq!(broker.run(&["consume", "-t", "t", "-c", "2"]).text(), "one\ntwo\n");
}

#[test]
fn a_cluster_that_went_away_while_reading() {
    let broker = Broker::in_memory();
    broker.topic("t", &[]);
    broker.produce(&["-t", "t"], "one\n");
    let mut consuming = broker.spawn(&["consume", "-t", "t", "--timeout", "3s"]);
    assert_eq!(next_line(consuming.stdout.as_mut().unwrap()), "one");
    broker.end(Signal::KILL);
    let said = finish(consuming, b"").failure();
    assert!(said.starts_with("highwater: the cluster has not answered for 3s: "), "{said}");
}
