//! `highwater bench`.

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Broker, Ran, finish, highwater, signal};

fn json(ran: Ran) -> Value {
    serde_json::from_str(&ran.text()).unwrap()
}

/// What it reported before it complained.
fn report_and_complaint(ran: &Ran) -> (Value, String) {
    assert_eq!(ran.code(), Some(1), "{}", ran.err());
    (serde_json::from_str(&ran.out()).unwrap(), ran.err())
}

#[test]
fn producing_is_counted_and_leaves_nothing() {
    let broker = Broker::in_memory();
    let report =
        json(broker.run(&["bench", "produce", "-n", "1000", "-s", "100", "-p", "3", "-P", "2", "--json"]));
    assert_eq!(
        (&report["records"], &report["bytes"], &report["errors"]),
        (&1000.into(), &100_000.into(), &serde_json::json!({}))
    );
    assert_eq!(
        (&report["partitions"], &report["producers"], &report["acks"]),
        (&3.into(), &2.into(), &"all".into())
    );
    assert_eq!((&report["idempotent"], &report["interrupted"]), (&true.into(), &false.into()));
    assert!(report["recordsPerSecond"].as_f64().unwrap() > 0.0);
    let latency = &report["latencyMs"]["acknowledged"];
    let [p50, p99, max] = ["p50", "p99", "max"].map(|name| latency[name].as_f64().unwrap());
    assert!(0.0 < p50 && p50 <= p99 && p99 <= max, "{latency}");
    assert_eq!(broker.run(&["topic", "list"]).text(), "");
}

#[test]
fn every_way_to_send_arrives() {
    let broker = Broker::in_memory();
    for args in [
        &["--acks", "0"][..],
        &["--acks", "1", "-z", "lz4", "--payload", "text"],
        &["--no-idempotence", "--in-flight", "20", "-z", "zstd", "--payload", "zeros"],
        &["--linger", "5ms", "--batch-size", "500", "-c", "segment.bytes=1048576"],
        &["--rate", "50000", "-P", "3"],
        &["-s", "1000000"],
        &["-s", "1", "--buffer", "320KiB"],
    ] {
        let produce = ["bench", "produce", "-n", "20", "-t", "kept", "--keep", "--json"];
        assert_eq!(json(broker.run(&[&produce, args].concat()))["records"], 20, "{args:?}");
        let read = json(broker.run(&["bench", "consume", "-t", "kept", "--once", "--json"]));
        let first = if args.contains(&"3") { 3 } else { 1 };
        assert_eq!((&read["records"], &read["passes"]), (&(20 + first).into(), &1.into()), "{args:?}");
        broker.run(&["topic", "delete", "kept"]).text();
    }
}

#[test]
fn a_topic_that_was_there_stays() {
    let broker = Broker::in_memory();
    broker.topic("t", &["-p", "2"]);
    broker.produce(&["-t", "t", "-p", "0"], "before\n");
    for command in ["produce", "latency", "consume"] {
        json(broker.run(&["bench", command, "-t", "t", "-n", "10", "--json"]));
        let said = broker.run(&["bench", command, "-t", "t", "-p", "2"]).failure();
        assert!(said.starts_with("highwater: topic t exists already: --partitions, "), "{said}");
    }
    assert_eq!(broker.run(&["topic", "list"]).text(), "t\n");
    assert_eq!(broker.consume(&["-t", "t", "-p", "0", "-c", "1"]), "before\n");
}

#[test]
fn a_topic_is_read_as_often_and_as_far_as_is_asked() {
    let broker = Broker::in_memory();
    broker.topic("t", &["-p", "3"]);
    for partition in ["0", "2"] {
        broker.produce(&["-t", "t", "-p", partition, "-k", "kk"], "four\n".repeat(50));
    }
    for (args, records, passes) in [
        (&["--once"][..], 100, 1),
        (&["--once", "-C", "2"], 100, 1),
        (&["-n", "30"], 30, 0),
        (&["-n", "250"], 250, 2),
        (&["-n", "250", "--once"], 100, 1),
    ] {
        let read = json(broker.run(&[&["bench", "consume", "-t", "t", "--json"], args].concat()));
        assert_eq!((&read["records"], &read["bytes"]), (&records.into(), &(6 * records).into()), "{args:?}");
        // Whether the last records end a pass depends on how they were fetched.
        assert!(read["passes"].as_i64().unwrap() >= passes, "{args:?}: {read}");
        assert!(read["firstRecordMs"].as_f64().unwrap() > 0.0);
    }
    let said = broker.run(&["bench", "consume", "-t", "t", "-C", "4"]).failure();
    assert_eq!(said, "highwater: --consumers: topic t has 3 partitions for them to share\n");
    broker.topic("empty", &[]);
    let said = broker.run(&["bench", "consume", "-t", "empty"]).failure();
    assert_eq!(said, "highwater: topic empty holds no records\n");
    assert_eq!(json(broker.run(&["bench", "consume", "--fill", "70", "--once", "--json"]))["records"], 70);
    assert_eq!(broker.run(&["topic", "list"]).text(), "empty\nt\n");
}

#[test]
fn latency_is_that_of_every_record_to_its_acknowledgement_and_to_its_reader() {
    let broker = Broker::in_memory();
    let args =
        ["bench", "latency", "-n", "300", "--rate", "10000", "-s", "16", "-p", "2", "-P", "2", "--json"];
    let report = json(broker.run(&args));
    assert_eq!((&report["records"], &report["errors"]), (&300.into(), &serde_json::json!({})));
    for row in ["acknowledged", "consumed", "late"] {
        assert!(report["latencyMs"][row]["max"].as_f64().unwrap() > 0.0, "{row}");
    }
    // The last record is not due before.
    assert!(report["seconds"].as_f64().unwrap() > 299.0 / 10_000.0);
    assert_eq!(broker.run(&["topic", "list"]).text(), "");
}

#[test]
fn latency_counts_from_when_a_record_was_due() {
    let broker = Broker::in_memory();
    // All are due at the start, and few have room in the producer: the last waits from the start to its end.
    let slowly = ["--batch-size", "1000", "--in-flight", "1", "--buffer", "80KiB", "-s", "1000", "--json"];
    for command in ["produce", "latency"] {
        let report =
            json(broker.run(&[&["bench", command, "-n", "3000", "--rate", "1e9"], &slowly[..]].concat()));
        let all_ms = report["seconds"].as_f64().unwrap() * 1e3;
        for row in ["acknowledged", "consumed"].iter().filter_map(|row| report["latencyMs"].get(row)) {
            assert!(row["max"].as_f64().unwrap() > all_ms * 0.99, "{report}");
        }
        let late = report["latencyMs"]["late"]["max"].as_f64().unwrap();
        assert!(late > 0.0 && late < all_ms, "{report}");
    }
}

#[test]
fn people_get_tables() {
    let broker = Broker::in_memory();
    let shown = broker.run(&["bench", "latency", "-n", "10", "-t", "t"]).text();
    let lines: Vec<_> = shown.lines().collect();
    assert!(lines[0].starts_with("sent and read 10 records of topic t (1 partition) in "), "{shown}");
    assert_eq!(
        lines[1],
        "1000 records/s, 1 producer, acks all, idempotent, values of 1 KiB (random), batches of 256 KiB, linger 0 ms, \
         no compression"
    );
    let words: Vec<_> = shown.split_whitespace().collect();
    for heading in ["records/s", "MB/s", "errors", "p99.9", "acknowledged", "consumed"] {
        assert!(words.contains(&heading), "{heading}: {shown}");
    }
    let shown = broker.run(&["bench", "consume", "--fill", "10", "-n", "10"]).text();
    assert!(shown.starts_with("read 10 records of topic highwater-bench-"), "{shown}");
}

#[test]
fn an_interrupt_ends_the_measuring_not_the_report() {
    let broker = Broker::in_memory();
    for args in [&["produce"][..], &["produce", "--rate", "100"], &["latency"], &["consume", "--fill", "10"]]
    {
        let running = broker.spawn(&[&["bench"], args, &["-t", "t", "-d", "1h", "--json"]].concat());
        // More than the first record is there, so it is at work. (Filling is told from reading by its number of records.)
        let enough = if args[0] == "consume" { "10" } else { "2" };
        while broker.run(&["consume", "-t", "t", "-c", enough, "-e", "-f", "x"]).out().len()
            < enough.parse().unwrap()
        {}
        signal(&running, Signal::INT);
        let report = json(finish(running, b""));
        assert_eq!(report["interrupted"], true, "{args:?}");
        assert_eq!(report["errors"], serde_json::json!({}), "{args:?}");
        assert_eq!(broker.run(&["topic", "list"]).text(), "", "{args:?}");
    }
}

#[test]
fn refused_records_are_counted_by_name() {
    let broker = Broker::in_memory();
    for command in ["produce", "latency"] {
        let limit = ["-c", "max.message.bytes=1000", "-s", "2000", "-n", "3", "--rate", "1000", "--json"];
        let ran = broker.run(&[&["bench", command], &limit[..]].concat());
        let (report, complaint) = report_and_complaint(&ran);
        assert_eq!(
            (&report["records"], &report["errors"]["MESSAGE_TOO_LARGE"]["count"]),
            (&0.into(), &3.into())
        );
        assert!(
            complaint.starts_with("highwater: 3 errors: 3 MESSAGE_TOO_LARGE (the first: "),
            "{complaint}"
        );
        assert_eq!(broker.run(&["topic", "list"]).text(), "");
    }
}

#[test]
fn a_broker_that_goes_away_is_an_error() {
    for command in ["produce", "latency", "consume"] {
        let broker = Broker::in_memory();
        let args = ["bench", command, "-t", "t", "--keep", "-d", "1h", "--timeout", "1s", "--json"];
        broker.topic("t", &[]);
        broker.produce(&["-t", "t"], "one\n");
        let running = broker.spawn(&args);
        if command == "consume" {
            broker.end(Signal::KILL);
        } else {
            while broker.consume(&["-t", "t", "-f", "x"]).len() < 3 {}
            broker.end(Signal::KILL);
            // It would go on trying for its hour.
            signal(&running, Signal::INT);
        }
        let ran = finish(running, b"");
        assert_eq!(ran.code(), Some(1), "{command}: {}", ran.err());
        assert!(!ran.err().is_empty());
    }
}

#[test]
fn arguments_that_cannot_be() {
    for args in [
        &["produce", "-s", "0"][..],
        &["produce", "--rate", "0"],
        &["produce", "-n", "0"],
        &["produce", "-P", "0"],
        &["produce", "-d", "10"],
        &["produce", "--payload", "noise"],
        &["consume", "--fill", "0"],
        &["consume", "-C", "0"],
        &["latency", "--rate", "-1"],
        &[],
    ] {
        finish(highwater(&[&["bench"], args].concat()).spawn().unwrap(), b"").usage_error();
    }
    let nowhere = ["-b", "127.0.0.1:1"];
    for (args, said) in [
        (&["latency", "-s", "15"][..], "--size: at least 16, which say which record it is"),
        (&["produce", "--buffer", "319KiB"], "--buffer: at least 327680 bytes, for one batch"),
        (&["produce", "--in-flight", "6"], "--in-flight: at most 5, unless with --no-idempotence"),
    ] {
        let ran = finish(highwater(&[&["bench"], args, &nowhere].concat()).spawn().unwrap(), b"");
        assert_eq!(ran.failure(), format!("highwater: {said}\n"));
    }
}
