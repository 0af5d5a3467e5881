//! `highwater consume`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;

use crate::harness::{Broker, finish, next_line, signal};

/// A topic `t` of one partition: values 0 to 9 at offsets 0 to 9, times 100 to 109.
fn ten_records() -> Broker {
    let broker = Broker::in_memory();
    broker.topic("t", &[]);
    let lines = (0..10).map(|number| format!(r#"{{"timestamp":{},"value":"{number}"}}"#, 100 + number));
    broker.produce(&["-t", "t", "--json"], lines.collect::<Vec<_>>().join("\n"));
    broker
}

#[test]
fn reading_begins_and_stops_where_it_is_told_to() {
    let broker = ten_records();
    for (args, expected) in [
        (&[][..], "0123456789"),
        (&["-o", "beginning"], "0123456789"),
        (&["-o", "end"], ""),
        (&["-o", "7"], "789"),
        (&["-o", "10"], ""),
        (&["-o", "-3"], "789"),
        (&["-o-3"], "789"),
        (&["-o", "-99"], "0123456789"),
        (&["-o", "-0"], ""),
        (&["-o", "@105"], "56789"),
        (&["-o", "s@105"], "56789"),
        (&["-o", "@200"], ""),
        (&["-o", "@0"], "0123456789"),
        (&["-o", "e@103"], "012"),
        (&["-o", "s@102", "-o", "e@105"], "234"),
        (&["-o", "e@105", "-o", "-9"], "1234"),
        (&["-o", "e@1"], ""),
        (&["-o", "e@999"], "0123456789"),
        (&["-c", "2"], "01"),
        (&["-c", "0"], ""),
        (&["-o", "8", "-c", "99"], "89"),
        (&["--isolation", "read_committed"], "0123456789"),
    ] {
        assert_eq!(broker.consume(&[&["-t", "t", "-f", "%s"], args].concat()), expected, "{args:?}");
    }
    // A time or a number to stop at needs no -e.
    assert_eq!(broker.run(&["consume", "-t", "t", "-o", "e@102", "-D", " "]).text(), "0 1 ");
    assert_eq!(broker.run(&["consume", "-t", "t", "-o", "-1", "-c", "1"]).text(), "9\n");
    assert_eq!(
        broker.run(&["consume", "-t", "t", "-o", "11"]).failure(),
        "highwater: offset 11 is beyond the end of t-0, which is 10\n"
    );
}

#[test]
fn a_format_names_every_part() {
    let broker = Broker::in_memory();
    broker.topic("t", &["-p", "2"]);
    let record = r#"{"partition":1,"timestamp":1700000000000,"key":"k","value":"val","headers":{"h":"v"}}"#;
    broker.produce(&["-t", "t", "--json"], record);
    broker.produce(&["-t", "t", "--json"], r#"{"partition":1,"timestamp":1}"#);
    let format = r"%t %p %o %T %k %K %s %S %h %% \x41\t|";
    assert_eq!(
        broker.consume(&["-t", "t", "-f", format]),
        "t 1 0 1700000000000 k 1 val 3 h=v % A\t|t 1 1 1  -1  -1  % A\t|"
    );
    assert_eq!(broker.consume(&["-t", "t", "-Z", "-f", "%k=%s "]), "k=val NULL=NULL ");
    let sizes = broker.run(&["consume", "-e", "-t", "t", "-f", "%R"]).bytes();
    assert_eq!(sizes, [0, 0, 0, 3, 255, 255, 255, 255]);
}

#[test]
fn partitions_are_all_or_those_named() {
    let broker = Broker::in_memory();
    broker.topic("t", &["-p", "4"]);
    let mut lines = String::new();
    for partition in 0..4 {
        for number in 0..100 {
            writeln!(lines, r#"{{"partition":{partition},"value":"{partition}/{number}"}}"#).unwrap();
        }
    }
    broker.produce(&["-t", "t", "--json"], lines);
    let of = |text: &str, partition: &str| -> Vec<String> {
        text.lines().filter(|line| line.starts_with(partition)).map(str::to_owned).collect()
    };
    let expected = |partition| (0..100).map(|number| format!("{partition}/{number}")).collect::<Vec<_>>();
    let all = broker.consume(&["-t", "t"]);
    for partition in 0..4 {
        assert_eq!(of(&all, &format!("{partition}/")), expected(partition));
    }
    assert_eq!(all.lines().count(), 400);
    for args in [&["-p", "1", "-p", "3"][..], &["-p", "3,1"]] {
        let two = broker.consume(&[&["-t", "t"], args].concat());
        assert_eq!((of(&two, "1/"), of(&two, "3/")), (expected(1), expected(3)));
        assert_eq!(two.lines().count(), 200);
    }
    assert_eq!(broker.consume(&["-t", "t", "-o", "-1"]).lines().count(), 4);
    assert_eq!(
        broker.run(&["consume", "-t", "t", "-p", "4"]).failure(),
        "highwater: topic t has partitions 0 to 3, not 4\n"
    );
}

#[test]
fn the_time_of_the_log_is_told_as_such() {
    let broker = Broker::in_memory();
    broker.topic("t", &["-c", "message.timestamp.type=LogAppendTime"]);
    broker.produce(&["-t", "t", "--json"], r#"{"timestamp":5,"value":"v"}"#);
    let shown: serde_json::Value = serde_json::from_str(&broker.consume(&["-t", "t", "--json"])).unwrap();
    assert_eq!(shown["timestampType"], "LogAppendTime");
    assert!(shown["timestamp"].as_i64().unwrap() > 1_700_000_000_000);
}

#[test]
fn records_are_printed_as_they_come() {
    let broker = Broker::in_memory();
    broker.topic("t", &[]);
    for args in [&["-u"][..], &[]] {
        let mut consuming = broker.spawn(&[&["consume", "-t", "t", "-o", "-0", "-c", "2"], args].concat());
        // It may begin to read at any moment: what it prints first, it has waited for.
        let stdout = consuming.stdout.take().unwrap();
        let reader = std::thread::spawn(move || {
            let mut stdout = stdout;
            (next_line(&mut stdout), next_line(&mut stdout))
        });
        while !reader.is_finished() {
            broker.produce(&["-t", "t"], "x\n");
        }
        assert_eq!(reader.join().unwrap(), ("x".to_owned(), "x".to_owned()));
        finish(consuming, b"").text();
    }
}

#[test]
fn reading_to_the_end_ends_while_more_is_produced() {
    let broker = Broker::in_memory();
    broker.topic("t", &["-p", "2"]);
    broker.produce(&["-t", "t", "-p", "0"], "before\n");
    let mut producing = broker.spawn(&["produce", "-q", "-t", "t", "-p", "1", "--linger", "1ms"]);
    let mut stdin = producing.stdin.take().unwrap();
    let is_enough = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_enough.load(Ordering::Relaxed) {
                stdin.write_all(b"x\n").unwrap();
            }
        });
        while broker.consume(&["-t", "t", "-p", "1", "-c", "1"]).is_empty() {}
        for _ in 0..3 {
            let all = broker.consume(&["-t", "t"]);
            assert_eq!(all.lines().filter(|line| *line == "before").count(), 1);
            assert!(all.lines().count() > 1);
        }
        is_enough.store(true, Ordering::Relaxed);
    });
    drop(stdin);
    finish(producing, b"").text();
}

#[test]
fn a_reader_that_has_seen_enough_ends_it_quietly() {
    let broker = Broker::in_memory();
    broker.topic("t", &[]);
    let input: String = (0..100_000).map(|number| format!("{number}\n")).collect();
    broker.produce(&["-t", "t"], input);
    for args in [&["-e"][..], &[], &["--json"]] {
        let mut consuming = broker.spawn(&[&["consume", "-t", "t"], args].concat());
        let mut stdout = consuming.stdout.take().unwrap();
        assert!(next_line(&mut stdout).contains('0'));
        drop(stdout);
        finish(consuming, b"").text();
    }
}

#[test]
fn a_reader_that_goes_away_ends_it_though_nothing_comes() {
    let broker = ten_records();
    for args in [&[][..], &["-g", "g"], &["-c", "99"]] {
        let mut consuming = broker.spawn(&[&["consume", "-t", "t"], args].concat());
        let mut stdout = consuming.stdout.take().unwrap();
        for number in 0..10 {
            assert_eq!(next_line(&mut stdout), number.to_string());
        }
        drop(stdout);
        finish(consuming, b"").text();
    }
}

#[test]
fn a_signal_ends_in_good_order_what_would_have_gone_on() {
    let broker = ten_records();
    for group in [&[][..], &["-g", "g"]] {
        for (limit, code, said) in
            [(&[][..], 0, ""), (&["-c", "99"], 1, "highwater: stopped before it was done\n")]
        {
            for end in [Signal::INT, Signal::TERM] {
                let args = [&["consume", "-t", "t", "-f", "%s\\n"], group, limit].concat();
                let mut consuming = broker.spawn(&args);
                if group.is_empty() {
                    assert_eq!(next_line(consuming.stdout.as_mut().unwrap()), "0");
                } else {
                    while !broker.run(&["group", "describe", "g", "--state"]).out().contains("Stable, 1 ") {}
                }
                signal(&consuming, end);
                let ran = finish(consuming, b"");
                assert_eq!((ran.code(), ran.err().as_str()), (Some(code), said), "{args:?}");
            }
        }
    }
}

#[test]
fn partitions_that_a_topic_gets_are_read() {
    let broker = Broker::in_memory();
    for (topic, args) in
        [("a", &[][..]), ("b", &["-g", "b"]), ("c", &["-g", "c", "--group-protocol", "consumer"])]
    {
        broker.topic(topic, &[]);
        broker.produce(&["-t", topic, "-p", "0"], "before\n");
        let start = ["consume", "-t", topic, "--metadata-age", "100ms", "-c", "2"];
        let mut consuming = broker.spawn(&[&start[..], args].concat());
        let mut stdout = consuming.stdout.take().unwrap();
        assert_eq!(next_line(&mut stdout), "before");
        broker.run(&["topic", "alter", topic, "-p", "2"]).text();
        broker.produce(&["-t", topic, "-p", "1"], "new\n");
        assert_eq!(next_line(&mut stdout), "new");
        finish(consuming, b"").text();
    }
}

#[test]
fn what_was_deleted_meanwhile_ends_it() {
    let broker = ten_records();
    let mut consuming = broker.spawn(&["consume", "-t", "t", "--timeout", "3s"]);
    let mut stdout = consuming.stdout.take().unwrap();
    for number in 0..10 {
        assert_eq!(next_line(&mut stdout), number.to_string());
    }
    broker.run(&["topic", "delete", "t"]).text();
    let missing = "highwater: topic t does not exist (`highwater topic list` names those that do)\n";
    assert_eq!(finish(consuming, b"").failure(), missing);
}

#[test]
fn a_topic_made_anew_is_not_taken_for_the_old() {
    let broker = ten_records();
    let mut consuming = broker.spawn(&["consume", "-t", "t"]);
    let mut stdout = consuming.stdout.take().unwrap();
    for number in 0..10 {
        assert_eq!(next_line(&mut stdout), number.to_string());
    }
    broker.run(&["topic", "delete", "t"]).text();
    broker.topic("t", &[]);
    broker.produce(&["-t", "t"], "anew\n");
    // Where the logs part depends on how much of the new one was there by then.
    let said = finish(consuming, b"").failure();
    let told = "highwater: the log of t-0 was truncated: it diverges from offset ";
    assert!(said.starts_with(told) && said.ends_with(", the position is 10\n"), "{said}");
}
