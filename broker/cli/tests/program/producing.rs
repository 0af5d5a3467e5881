//! `highwater produce`, read back.

use std::fs;
use std::io::Write;

use rustix::process::Signal;

use crate::harness::{Broker, finish, next_line, signal};

/// Each value, null told from empty.
const SHOWN: [&str; 2] = ["-f", r"%k|%K|%s|%S|%h\n"];

#[test]
fn each_line_is_a_record() {
    let broker = Broker::in_memory();
    let ran = broker.run_with(&["produce", "-t", "t"], "one\n\nthree");
    assert_eq!((ran.code(), ran.err().as_str()), (Some(0), "highwater: 3 records were stored\n"));
    assert_eq!(broker.consume(&[&["-t", "t"], &SHOWN[..]].concat()), "|-1|one|3|\n|-1||0|\n|-1|three|5|\n");
    let ran = broker.run_with(&["produce", "-t", "t"], "");
    assert_eq!((ran.code(), ran.err().as_str()), (Some(0), "highwater: no record was stored\n"));
}

#[test]
fn keys_headers_and_nulls_are_kept() {
    let broker = Broker::in_memory();
    broker.topic("t", &[]);
    broker.produce(&["-t", "t", "-k", "key", "-H", "a=1", "-H", "a=x=y", "-H", "b"], "v\n");
    broker.produce(&["-t", "t", "-K", ":="], "k:=v:=w\nno key\n:=\n");
    broker.produce(&["-t", "t", "-K", ":", "-Z"], "k:\n:v\n:\n\n");
    let expected = "key|3|v|1|a=1,a=x=y,b=NULL\nk|1|v:=w|4|\n|-1|no key|6|\n|0||0|\nk|1||-1|\n|-1|v|1|\n\
                    |-1||-1|\n|-1||-1|\n";
    assert_eq!(broker.consume(&[&["-t", "t"], &SHOWN[..]].concat()), expected);
    let null = broker.consume(&["-t", "t", "-Z", "-o", "-1", "-K", "/"]);
    assert_eq!(null, "NULL/NULL\n");
}

#[test]
fn delimiters_may_be_any_bytes() {
    let broker = Broker::in_memory();
    broker.topic("t", &[]);
    broker.produce(&["-t", "t", "-D", r"\0", "-K", r"\x01\x02"], b"k\n\x01\x02v\n\0w");
    let bytes = broker.run(&["consume", "-e", "-t", "t", "-K", r"\t", "-D", r"\0\xff"]).bytes();
    assert_eq!(bytes, b"k\n\tv\n\0\xff\tw\0\xff");
}

#[test]
fn files_are_records_or_hold_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let every_byte: Vec<u8> = (0..=255).collect();
    let (binary, lines, empty) = (file("a", &every_byte), file("b", b"1\n2"), file("c", b""));
    let broker = Broker::in_memory();
    for topic in ["whole", "cut", "split"] {
        broker.topic(topic, &[]);
    }
    broker.produce(&["-t", "whole", &binary, &lines, "-", &empty], "typed\n");
    let bytes = broker.run(&["consume", "-e", "-t", "whole", "-f", "%S:%s;"]).bytes();
    assert_eq!(bytes, [b"256:", &every_byte[..], b";3:1\n2;6:typed\n;0:;"].concat());
    broker.produce(&["-t", "cut", "-l", &lines, &empty, &lines], "");
    assert_eq!(broker.consume(&["-t", "cut"]), "1\n2\n1\n2\n");
    broker.produce(&["-t", "split", "-D", "2", &lines], "");
    assert_eq!(broker.consume(&["-t", "split", "-D", ";"]), "1\n;");
}

#[test]
fn every_codec_and_every_acks_keep_the_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let broker = Broker::on(&data);
    let input: String = (0..5000).map(|number| format!("key {number}:value {number} {number}\n")).collect();
    for (id, codec) in ["none", "gzip", "snappy", "lz4", "zstd"].into_iter().enumerate() {
        for acks in ["0", "1", "all"] {
            let topic = format!("{codec}-{acks}");
            broker.topic(&topic, &[]);
            broker.produce(&["-t", &topic, "-z", codec, "--acks", acks, "-K", ":"], &input);
            // Without acknowledgement nobody knows when it is there: so wait for all of it.
            let ran = broker.run(&["consume", "-t", &topic, "-c", "5000", "-K", ":"]);
            assert_eq!(ran.text(), input, "{topic}");
            let log = fs::read(data.join(format!("node-0/{topic}-0/00000000000000000000.log"))).unwrap();
            // The low bits of the first batch's attributes.
            assert_eq!(usize::from(log[22] & 7), id, "{topic}");
        }
    }
}

#[test]
fn producer_ids_are_used_unless_declined() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::on(folder.path());
    for (topic, args, is_idempotent) in
        [("a", &[][..], true), ("b", &["--no-idempotence"][..], false), ("c", &["--acks", "1"][..], false)]
    {
        broker.topic(topic, &[]);
        broker.produce(&[&["-t", topic], args].concat(), "v\n");
        let log = fs::read(folder.path().join(format!("node-0/{topic}-0/00000000000000000000.log"))).unwrap();
        let producer_id = i64::from_be_bytes(log[43..51].try_into().unwrap());
        assert_eq!(producer_id >= 0, is_idempotent, "{topic}: {producer_id}");
    }
}

#[test]
fn the_key_decides_the_partition_as_in_java() {
    let broker = Broker::in_memory();
    broker.topic("t", &["-p", "7"]);
    let keys = "21:\nfoobar:\nabc:\n21:\n";
    let verbose = broker.run_with(&["produce", "-q", "-v", "-t", "t", "-K", ":"], keys).text();
    // murmur2 with the sign bit masked, modulo 7.
    let partition = |hash: i32| (hash & i32::MAX) % 7;
    let (a, b, c) = (partition(-973_932_308), partition(-790_332_482), partition(479_470_107));
    assert_eq!(verbose, format!("t-{a}@0\nt-{b}@0\nt-{c}@0\nt-{a}@1\n"));
    let verbose =
        broker.run_with(&["produce", "-q", "-v", "-t", "t", "-p", "6", "-k", "21"], "x\ny\n").text();
    let before = [a, b, c].iter().filter(|partition| **partition == 6).count();
    assert_eq!(verbose, format!("t-6@{before}\nt-6@{}\n", before + 1));
}

#[test]
fn without_acknowledgement_no_offset_is_known() {
    let broker = Broker::in_memory();
    broker.topic("t", &[]);
    let ran = broker.run_with(&["produce", "-v", "-t", "t", "--acks", "0"], "x\n");
    assert_eq!(ran.err(), "highwater: 1 record was sent, without acknowledgement\n");
    assert_eq!(ran.code(), Some(0));
    assert_eq!(broker.run(&["consume", "-t", "t", "-c", "1"]).text(), "x\n");
}

#[test]
fn json_in_is_json_out() {
    let broker = Broker::in_memory();
    broker.topic("t", &["-p", "2"]);
    let input = r#"
{"topic":"t","partition":1,"timestamp":5,"key":"k","value":"ä\n\u0000","headers":[{"key":"h","value":"1"},{"key":"h","value":null}]}

{"topic":"t","partition":1,"timestamp":6,"keyBase64":"/w==","valueBase64":"AP8=","headers":[{"key":"h","valueBase64":"/w=="}]}
{"topic":"t","partition":0,"timestamp":7,"key":"","value":null,"headers":{"only":"one"}}
"#;
    broker.produce(&["--json"], input);
    let shown = broker.consume(&["-t", "t", "-p", "1", "--json"]);
    let expected = concat!(
        r#"{"topic":"t","partition":1,"offset":0,"timestamp":5,"timestampType":"CreateTime","key":"k","value":"ä\n\u0000","headers":[{"key":"h","value":"1"},{"key":"h","value":null}]}"#,
        "\n",
        r#"{"topic":"t","partition":1,"offset":1,"timestamp":6,"timestampType":"CreateTime","keyBase64":"/w==","valueBase64":"AP8=","headers":[{"key":"h","valueBase64":"/w=="}]}"#,
        "\n"
    );
    assert_eq!(shown, expected);
    let other = broker.consume(&["-t", "t", "-p", "0", "--json"]);
    let expected = r#"{"topic":"t","partition":0,"offset":0,"timestamp":7,"timestampType":"CreateTime","key":"","value":null,"headers":[{"key":"only","value":"one"}]}"#;
    assert_eq!(other.trim_end(), expected);

    // A copy: the argument wins over the record's topic, all else is kept.
    broker.topic("copy", &["-p", "2"]);
    broker.produce(&["--json", "-t", "copy"], shown.clone() + &other);
    let copied = |partition| broker.consume(&["-t", "copy", "-p", partition, "--json"]);
    assert_eq!(copied("1") + &copied("0"), (shown + &other).replace(r#""topic":"t""#, r#""topic":"copy""#));
}

#[test]
fn much_goes_through_in_order() {
    let broker = Broker::in_memory();
    broker.topic("t", &[]);
    let input: String = (0..200_000).map(|number| format!("{number}\n")).collect();
    let ran = broker.run_with(&["produce", "-t", "t", "--linger", "1ms"], &input);
    assert_eq!((ran.code(), ran.err().as_str()), (Some(0), "highwater: 200000 records were stored\n"));
    assert!(broker.consume(&["-t", "t"]) == input, "not the same records in the same order");
}

#[test]
fn records_leave_as_they_come_and_an_interrupt_ends_in_good_order() {
    let broker = Broker::in_memory();
    broker.topic("t", &[]);
    let mut producing = broker.spawn(&["produce", "-v", "-t", "t"]);
    let mut stdin = producing.stdin.take().unwrap();
    for number in 0..3 {
        stdin.write_all(b"x\n").unwrap();
        assert_eq!(next_line(producing.stdout.as_mut().unwrap()), format!("t-0@{number}"));
    }
    signal(&producing, Signal::INT);
    let ran = finish(producing, b"");
    assert_eq!((ran.code(), ran.err().as_str()), (Some(0), "highwater: 3 records were stored\n"));
    drop(stdin);
}

#[test]
fn whoever_reads_the_places_may_stop_the_records_go_on() {
    let broker = Broker::in_memory();
    broker.topic("t", &[]);
    let mut producing = broker.spawn(&["produce", "-v", "-t", "t"]);
    drop(producing.stdout.take());
    let input = "x\n".repeat(50_000);
    let ran = finish(producing, input.as_bytes());
    assert_eq!((ran.code(), ran.err().as_str()), (Some(0), "highwater: 50000 records were stored\n"));
}
