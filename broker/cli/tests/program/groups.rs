//! `highwater group`, and `highwater consume --group`.

use std::fs;
use std::process::ChildStdout;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Broker, finish, next_line, signal};

/// A topic `t` of two partitions with values 0 to 9 in each, at times 100 to 109.
fn twenty_records() -> Broker {
    let broker = Broker::in_memory();
    broker.topic("t", &["-p", "2"]);
    let line = |number: i64| {
        let (partition, value) = (number / 10, number % 10);
        format!(r#"{{"partition":{partition},"timestamp":{},"value":"{value}"}}"#, 100 + value)
    };
    broker.produce(&["-t", "t", "--json"], (0..20).map(line).collect::<Vec<_>>().join("\n"));
    broker
}

/// What a member reads that leaves when it has read all there is.
fn read(broker: &Broker, group: &str, args: &[&str]) -> String {
    broker.run(&[&["consume", "-e", "-t", "t", "-f", "%p%s ", "-g", group], args].concat()).text()
}

fn described(broker: &Broker, group: &str) -> Value {
    let all: Value =
        serde_json::from_str(&broker.run(&["group", "describe", group, "--json"]).text()).unwrap();
    all[0].clone()
}

/// The committed offset of each partition.
fn committed(broker: &Broker, group: &str) -> Vec<Option<i64>> {
    let group = described(broker, group);
    group["partitions"].as_array().unwrap().iter().map(|at| at["committed"].as_i64()).collect()
}

fn lines(stdout: &mut ChildStdout, count: usize) -> Vec<String> {
    (0..count).map(|_| next_line(stdout)).collect()
}

#[test]
fn a_group_goes_on_where_it_left_off() {
    let broker = twenty_records();
    let first = read(&broker, "g", &[]);
    assert_eq!(first.split_whitespace().count(), 20);
    assert_eq!(committed(&broker, "g"), [Some(10), Some(10)]);
    assert_eq!(read(&broker, "g", &[]), "");
    broker.produce(&["-t", "t", "-p", "1"], "a\nb\n");
    assert_eq!(read(&broker, "g", &[]), "1a 1b ");
    // Another group has its own place, at the end if it wants to.
    assert_eq!(read(&broker, "h", &["-o", "end"]), "");
    assert_eq!(committed(&broker, "h"), [Some(10), Some(12)]);
}

#[test]
fn only_what_was_printed_is_committed() {
    let expected: Vec<_> = (0..20).map(|number| format!("{}{}", number / 10, number % 10)).collect();
    for protocol in ["classic", "consumer"] {
        let broker = twenty_records();
        let mut all: Vec<String> = Vec::new();
        for count in ["3", "0", "9", "99"] {
            let read = read(&broker, "g", &["-c", count, "--group-protocol", protocol]);
            all.extend(read.split_whitespace().map(str::to_owned));
        }
        all.sort();
        assert_eq!(all, expected, "{protocol}");
    }
}

#[test]
fn a_member_leaves_when_it_is_told_to_or_nobody_reads_it() {
    let broker = twenty_records();
    for end in [Some(Signal::INT), Some(Signal::TERM), None] {
        let mut member = broker.spawn(&["consume", "-t", "t", "-g", "g", "-q"]);
        let mut stdout = member.stdout.take().unwrap();
        lines(&mut stdout, 20);
        let group = described(&broker, "g");
        assert_eq!(
            (&group["state"], group["members"].as_array().unwrap().len()),
            (&"Stable".into(), 1),
            "{group}"
        );
        let reader = &group["members"][0]["memberId"];
        assert!(
            group["partitions"].as_array().unwrap().iter().all(|at| at["memberId"] == *reader),
            "{group}"
        );
        if let Some(end) = end {
            signal(&member, end);
        } else {
            drop(stdout);
        }
        finish(member, b"").text();
        // At once, not when its session is over; and what nobody saw is there for the next.
        assert_eq!(described(&broker, "g")["state"], "Empty");
        assert_eq!(committed(&broker, "g"), [Some(10), Some(10)]);
        broker.run(&["group", "reset", "g", "-t", "t", "--to-earliest", "--execute", "--json"]).text();
    }
}

#[test]
fn what_members_of_the_consumer_protocol_want_and_have_is_shown() {
    let broker = twenty_records();
    let member =
        broker.spawn(&["consume", "-t", "t", "-g", "g", "-o", "end", "--group-protocol", "consumer"]);
    let has = || {
        // It is not there before the member joins.
        let ran = broker.run(&["group", "describe", "g", "--json"]);
        let all: Value = serde_json::from_str(&ran.out()).unwrap_or_default();
        all[0]["members"][0]["partitions"].as_array().map_or(0, Vec::len)
    };
    while has() != 2 {}
    let group = described(&broker, "g");
    let member_told = &group["members"][0];
    assert_eq!((&group["kind"], &group["assignor"]), (&"consumer".into(), &"uniform".into()));
    assert!(group["epoch"].as_i64() >= Some(1) && group["epoch"] == group["assignmentEpoch"], "{group}");
    assert_eq!(member_told["epoch"], group["epoch"]);
    assert_eq!(member_told["topics"], json!(["t"]));
    assert_eq!(member_told["target"], json!(["t-0", "t-1"]));
    let shown = broker.run(&["group", "describe", "g", "--members"]).text();
    let [state, heading, row] = shown.lines().collect::<Vec<_>>()[..] else { panic!("{shown}") };
    assert!(state.starts_with("g: Stable, 1 member, epoch "), "{state}");
    let columns: Vec<_> = heading.split_whitespace().collect();
    assert_eq!(columns, ["MEMBER", "INSTANCE", "CLIENT", "HOST", "EPOCH", "WANTS", "HAS", "TO-HAVE"]);
    assert_eq!(row.split_whitespace().collect::<Vec<_>>()[5..], ["t", "t-0,t-1", "t-0,t-1"]);
    let only_state = broker.run(&["group", "describe", "g", "--state"]).text();
    assert_eq!(only_state.lines().count(), 1, "{only_state}");
    let offsets = broker.run(&["group", "describe", "g", "--offsets"]).text();
    assert_eq!(offsets.lines().count(), 4, "{offsets}");
    signal(&member, Signal::TERM);
    assert_eq!(finish(member, b"").code(), Some(0));
}

#[test]
fn members_divide_the_partitions() {
    let broker = twenty_records();
    let mut members: Vec<_> =
        (0..2).map(|_| broker.spawn(&["consume", "-t", "t", "-g", "g", "-o", "end"])).collect();
    let shares = || -> Vec<usize> {
        let ran = broker.run(&["group", "describe", "g", "--json"]);
        // It is not there before the first of them joins.
        let Ok(all) = serde_json::from_str::<Value>(&ran.out()) else { return Vec::new() };
        let members = all[0]["members"].as_array().unwrap();
        members.iter().map(|member| member["partitions"].as_array().unwrap().len()).collect()
    };
    while shares() != [1, 1] {}
    let shown = broker.run(&["group", "describe", "g"]).text();
    assert!(shown.starts_with("g: Stable, 2 members, assignor range, coordinator "), "{shown}");
    let heading = shown.lines().find(|line| line.contains("INSTANCE")).unwrap();
    assert_eq!(
        heading.split_whitespace().collect::<Vec<_>>(),
        ["MEMBER", "INSTANCE", "CLIENT", "HOST", "PARTITIONS"]
    );
    let refused = broker.run(&["group", "reset", "g", "-t", "t", "--to-latest"]).failure();
    assert_eq!(refused, "highwater: group g is Stable: its members have to stop first\n");
    let refused = broker.run(&["group", "delete", "g"]).failure();
    assert_eq!(refused, "highwater: group g has members: they have to stop first\n");
    // The one that goes on takes over from the one that leaves.
    let mut stays = members.pop().unwrap();
    let leaves = members.pop().unwrap();
    signal(&leaves, Signal::INT);
    finish(leaves, b"").text();
    while shares() != [2] {}
    for partition in ["0", "1"] {
        broker.produce(&["-t", "t", "-p", partition], format!("to {partition}\n"));
    }
    let mut read = lines(stays.stdout.as_mut().unwrap(), 2);
    read.sort();
    assert_eq!(read, ["to 0", "to 1"]);
    signal(&stays, Signal::INT);
    finish(stays, b"").text();
}

#[test]
fn offsets_are_moved_where_they_are_to_be() {
    let broker = twenty_records();
    broker.run(&["topic", "create", "empty"]).text();
    let reset = |args: &[&str]| broker.run(&[&["group", "reset", "g"], args].concat());
    let moved = reset(&["-t", "t", "--to-offset", "6", "--execute"]);
    assert_eq!((moved.code(), moved.err().as_str()), (Some(0), "highwater: moved 2 offsets of group g\n"));
    assert_eq!(
        moved.out(),
        "  TOPIC  PARTITION  FROM  TO\n  t              0     -   6\n  t              1     -   6\n"
    );
    for (args, expected) in [
        (&["-t", "t", "--shift-by", "-2"][..], [4, 4]),
        (&["-t", "t:1", "--shift-by=3"], [4, 7]),
        (&["-t", "t", "--to-current"], [4, 7]),
        (&["--all-topics", "--to-earliest"], [0, 0]),
        (&["-t", "t", "--to-latest"], [10, 10]),
        (&["-t", "t:0", "--to-datetime", "1970-01-01T00:00:00.105"], [5, 10]),
        (&["-t", "t:0", "--to-datetime", "1970-01-01T01:00:00.107+01:00"], [7, 10]),
        (&["-t", "t:0", "--to-datetime", "2100-01-01T00:00"], [10, 10]),
        (&["-t", "t", "-t", "t:0", "--by-duration", "P40000D"], [0, 0]),
        (&["-t", "t", "--by-duration", "1s"], [10, 10]),
    ] {
        // First it only says what it would do.
        let before = committed(&broker, "g");
        let dry = reset(args);
        assert_eq!(
            (dry.code(), dry.err().as_str()),
            (Some(0), "highwater: nothing was changed; --execute does it\n")
        );
        let asked_for = reset(&[args, &["--dry-run"]].concat());
        assert_eq!((asked_for.out(), &*asked_for.err()), (dry.out(), "highwater: nothing was changed\n"));
        assert_eq!(committed(&broker, "g"), before, "{args:?}");
        assert_eq!(reset(&[args, &["--execute"]].concat()).out(), dry.out(), "{args:?}");
        assert_eq!(committed(&broker, "g"), expected.map(Some), "{args:?}");
    }
    let clipped = reset(&["-t", "t:1", "--to-offset", "99", "--json"]);
    assert_eq!(clipped.err(), "highwater: t-1 has no such offset; 10 is the nearest\n");
    let expected = json!({
        "group": "g", "executed": false, "offsets": [{"topic": "t", "partition": 1, "from": 10, "to": 10}],
    });
    assert_eq!(serde_json::from_str::<Value>(&clipped.out()).unwrap(), expected);
    for (args, said) in [
        (
            &["-t", "u", "--to-latest"][..],
            "topic u does not exist (`highwater topic list` names those that do)",
        ),
        (&["-t", "t:0,5", "--to-latest"], "topic t has partitions 0 to 1, not 5"),
        (&["-t", "empty", "--shift-by", "1"], "the group has no offset of empty-0 to count from"),
    ] {
        assert_eq!(reset(args).failure(), format!("highwater: {said}\n"));
    }
    let said = broker.run(&["group", "reset", "nobody", "--all-topics", "--to-latest"]).failure();
    assert_eq!(said, "highwater: group nobody has no offsets of topics that exist\n");
}

#[test]
fn offsets_go_to_a_file_and_come_back() {
    let broker = twenty_records();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("offsets.csv");
    let file = path.to_str().unwrap();
    read(&broker, "g", &["-c", "13"]);
    let before = committed(&broker, "g");
    let exported = broker.run(&["group", "reset", "g", "--all-topics", "--to-current", "--export"]).text();
    assert_eq!(exported, format!("t,0,{}\nt,1,{}\n", before[0].unwrap(), before[1].unwrap()));
    fs::write(&path, exported).unwrap();
    for from in [file, "-"] {
        broker.run(&["group", "reset", "g", "-t", "t", "--to-latest", "--execute", "--json"]).text();
        let back = ["group", "reset", "g", "--from-file", from, "--execute", "--json"];
        broker.run_with(&back, fs::read(&path).unwrap()).text();
        assert_eq!(committed(&broker, "g"), before);
    }
    for (text, said) in [
        ("t,0\n", format!("{file}: line 1: \"t,0\" is no TOPIC,PARTITION,OFFSET")),
        ("t,7,0\n", "there is no partition t-7".to_owned()),
    ] {
        fs::write(&path, text).unwrap();
        let refused = broker.run(&["group", "reset", "g", "--from-file", file]).failure();
        assert_eq!(refused, format!("highwater: {said}\n"));
    }
}

#[test]
fn groups_are_listed_described_forgotten_and_deleted() {
    let broker = twenty_records();
    assert_eq!(broker.run(&["group", "list"]).text(), "");
    assert_eq!(broker.run(&["group", "describe"]).text(), "");
    read(&broker, "a", &[]);
    broker.run(&["group", "reset", "b", "-t", "t:1", "--to-offset", "4", "--execute", "--json"]).text();
    let rows: Vec<Vec<String>> = broker
        .run(&["group", "list"])
        .text()
        .lines()
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
        .collect();
    assert_eq!(rows[0], ["GROUP", "STATE", "KIND", "PROTOCOL"]);
    assert_eq!(rows[1][..3], ["a", "Empty", "classic"]);
    assert_eq!(rows[2][..2], ["b", "Empty"]);
    assert_eq!(broker.run(&["group", "list", "--state", "stable"]).text(), "");
    assert_eq!(broker.run(&["group", "list", "--state", "stable,EMPTY"]).text().lines().count(), 3);
    let bogus = broker.run(&["group", "list", "--state", "Bogus"]).usage_error();
    assert!(bogus.contains("PreparingRebalance") && bogus.contains("Reconciling"), "{bogus}");
    let listed: Value = serde_json::from_str(&broker.run(&["group", "list", "--json"]).text()).unwrap();
    assert_eq!((&listed[0]["group"], &listed[1]["state"]), (&"a".into(), &"Empty".into()));

    let shown = broker.run(&["group", "describe", "b"]).text();
    let expected = format!(
        "b: Empty, 0 members, coordinator {}\n  \
           TOPIC  PARTITION  COMMITTED  END  LAG  MEMBER\n  \
           t              1          4   10    6  -\n",
        broker.address
    );
    assert_eq!(shown, expected);
    for said in ["group a forgot its offset of t-0\n", "group a had no offset of t-0\n"] {
        assert_eq!(broker.run(&["group", "forget", "a", "-t", "t:0"]).text(), said);
    }
    assert_eq!(committed(&broker, "a"), [Some(10)]);

    broker.run(&["topic", "delete", "t", "--json"]).text();
    let ran = broker.run(&["group", "delete", "b", "nobody", "--json"]);
    let missing = "group nobody does not exist (`highwater group list` names those that do)";
    assert_eq!((ran.code(), ran.err()), (Some(1), format!("highwater: {missing}\n")));
    let told: Value = serde_json::from_str(&ran.out()).unwrap();
    assert_eq!(told, json!([{"group": "b", "error": null}, {"group": "nobody", "error": missing}]));
    assert_eq!(broker.run(&["group", "describe", "nobody"]).failure(), format!("highwater: {missing}\n"));
    let ran = broker.run(&["group", "describe", "nobody", "a"]);
    assert_eq!((ran.code(), ran.err()), (Some(1), format!("highwater: {missing}\n")));
    assert!(ran.out().starts_with("a: Empty, "), "{}", ran.out());
    assert_eq!(
        broker.run(&["group", "delete", "nobody", "--if-exists"]).text(),
        "group nobody does not exist\n"
    );
}

#[test]
fn arguments_that_cannot_be() {
    let broker = Broker::in_memory();
    for args in [
        &["group"][..],
        &["group", "delete"],
        &["group", "forget", "g"],
        &["group", "reset", "g", "--to-latest"],
        &["group", "reset", "g", "-t", "t"],
        &["group", "reset", "g", "-t", "t", "--to-latest", "--to-earliest"],
        &["group", "reset", "g", "-t", "t", "--to-offset", "-1"],
        &["group", "reset", "g", "-t", "t", "--to-datetime", "yesterday"],
        &["group", "reset", "g", "-t", "t", "--by-duration", "5"],
        &["group", "reset", "g", "-t", "t", "--all-topics", "--to-latest"],
        &["group", "reset", "g", "-t", "t", "--from-file", "f"],
        &["group", "reset", "g", "-t", "t:x", "--to-latest"],
        &["group", "reset", "g", "-t", "t", "--to-latest", "--dry-run", "--execute"],
        &["consume", "-t", "t", "--group-protocol", "consumer"],
        &["group", "describe", "g", "--json", "--members"],
        &["consume", "-t", "t", "-g", "g", "-p", "0"],
    ] {
        broker.run(args).usage_error();
    }
    let said = broker.run(&["group", "reset", "g", "--to-latest"]).usage_error();
    assert!(["--topic", "--all-topics", "--from-file"].iter().all(|what| said.contains(what)), "{said}");
    for place in ["7", "-7", "@7", "e@7"] {
        let said = broker.run(&["consume", "-t", "t", "-g", "g", "-o", place]).failure();
        assert!(said.starts_with("highwater: -o: in a group only beginning or end; "), "{said}");
    }
}
