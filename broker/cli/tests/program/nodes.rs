//! `highwater serve --nodes` and `highwater fault`: several nodes, and what happens to them.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::control::{get, value};
use crate::harness::{Broker, finish, highwater, next_line};

/// Long enough for anything that comes to come.
const PATIENCE: Duration = Duration::from_secs(30);

fn three(args: &[&str]) -> Broker {
    Broker::start(&[&["--nodes", "3", "--control", "0"], args].concat())
}

/// The partitions of a topic, as `topic describe` has them.
fn partitions(broker: &Broker, topic: &str) -> Vec<Value> {
    let text = broker.run(&["topic", "describe", topic, "--json"]).text();
    let described: Value = serde_json::from_str(&text).unwrap();
    described[0]["partitions"].as_array().unwrap().clone()
}

/// One of the lists of `fault list`.
fn listed(broker: &Broker, which: &str) -> Value {
    let text = broker.run(&["fault", "list", "--json"]).text();
    let mut listed: Value = serde_json::from_str(&text).unwrap();
    listed[which].take()
}

/// Waits until a topic's partitions are like this.
#[track_caller]
fn until(broker: &Broker, topic: &str, is_so: impl Fn(&Value) -> bool) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        let partitions = partitions(broker, topic);
        if partitions.iter().all(&is_so) {
            return partitions;
        }
        assert!(begun.elapsed() < PATIENCE, "{partitions:?}");
    }
}

fn are_in_sync(count: usize) -> impl Fn(&Value) -> bool {
    move |partition| partition["isr"].as_array().unwrap().len() == count
}

fn leader(partitions: &[Value]) -> String {
    partitions[0]["leader"].to_string()
}

#[test]
fn what_all_acknowledged_outlives_the_leader_and_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let broker = three(&["--data-dir", folder.path().to_str().unwrap()]);
    assert_eq!(
        broker.run(&["topic", "create", "t"]).text(),
        "created topic t (1 partition, 3 replicas each)\n"
    );
    let mut expected = String::new();
    let mut produce = |value: &str| {
        broker.produce(&["-t", "t", "--acks", "all"], format!("{value}\n"));
        expected += &format!("{value}\n");
        assert_eq!(broker.consume(&["-t", "t"]), expected);
    };
    produce("before");
    for (fault, done) in [("kill", "killed"), ("stop", "stopped")] {
        let first = leader(&partitions(&broker, "t"));
        assert_eq!(broker.run(&["fault", fault, &first]).text(), format!("{done} node {first}\n"));
        produce(&format!("after {fault}"));
        let now = partitions(&broker, "t");
        assert_ne!(leader(&now), first);
        assert_eq!(now[0]["isr"].as_array().unwrap().len(), 2, "{now:?}");
        let shown = broker.run(&["topic", "describe", "t"]).text();
        assert!(shown.lines().next().unwrap().ends_with("; 1 with replicas out of sync"), "{shown}");

        assert_eq!(broker.run(&["fault", "start", &first]).text(), format!("started node {first}\n"));
        until(&broker, "t", are_in_sync(3));
        produce(&format!("after {fault} and start"));
    }
    assert!(broker.end(Signal::TERM).success());
    let broker = three(&["--data-dir", folder.path().to_str().unwrap()]);
    assert_eq!(broker.consume(&["-t", "t"]), expected);
}

#[test]
fn a_node_without_power_loses_what_it_had_not_synced_and_gets_it_from_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let broker = three(&["--may-lose-power", "--data-dir", folder.path().to_str().unwrap()]);
    broker.topic("t", &[]);
    broker.produce(&["-t", "t"], "one\ntwo\n");
    let first = leader(&partitions(&broker, "t"));
    let said = broker.run(&["fault", "poweroff", &first, "--seed", "7"]).text();
    assert_eq!(said, format!("took the power of node {first} away\n"));
    broker.run(&["fault", "start", &first]).text();
    until(&broker, "t", are_in_sync(3));
    assert_eq!(broker.consume(&["-t", "t"]), "one\ntwo\n");
}

#[test]
fn a_consumer_reads_from_its_rack() {
    let selector = "replica.selector.class=org.apache.kafka.common.replica.RackAwareReplicaSelector";
    let broker = three(&["--memory", "--racks", "a,b,c", "-c", selector]);
    broker.topic("t", &[]);
    broker.produce(&["-t", "t"], "one\n");
    until(&broker, "t", are_in_sync(3));
    let near = (leader(&partitions(&broker, "t")).parse::<usize>().unwrap() + 1) % 3;
    let mut reader = broker.spawn(&["consume", "-t", "t", "--rack", ["a", "b", "c"][near]]);
    assert_eq!(next_line(reader.stdout.as_mut().unwrap()), "one");
    let control = broker.ready["control"].as_str().unwrap();
    let waits_there = || {
        let (_, metrics) = get(control, "/metrics");
        value(&metrics, &format!("highwater_waiting_fetches{{node=\"{near}\"}}")) == Some(1.0)
    };
    let begun = Instant::now();
    while !waits_there() {
        assert!(begun.elapsed() < PATIENCE, "{}", get(control, "/metrics").1);
    }
    reader.kill().unwrap();
    reader.wait().unwrap();
}

#[test]
fn each_node_has_a_rack_or_none_has() {
    let serve = highwater(&["serve", "--memory", "--nodes", "3", "--racks", "a,b"]).spawn().unwrap();
    assert_eq!(finish(serve, b"").failure(), "highwater: --racks a,b: 3 nodes need as many racks\n");
}

#[test]
fn a_partition_that_nobody_leads_is_shown_as_such() {
    let broker = three(&["--memory"]);
    broker.topic("t", &["-r", "1", "-p", "3"]);
    broker.run(&["fault", "kill", "1"]).text();
    let nodes = |partition: &Value| partition["replicas"].as_array().unwrap().clone();
    let lost =
        until(&broker, "t", |partition| partition["leader"].is_null() == (nodes(partition) == [json!(1)]));
    assert_eq!(lost.iter().filter(|partition| partition["leader"].is_null()).count(), 1, "{lost:?}");
    let shown = broker.run(&["topic", "describe", "t"]).text();
    assert!(shown.starts_with("t: 3 partitions, 1 replica each, id "), "{shown}");
    assert!(shown.lines().next().unwrap().ends_with("; 1 without a leader"), "{shown}");
    let row = shown.lines().find(|line| line.split_whitespace().nth(1) == Some("-")).unwrap();
    let columns: Vec<_> = row.split_whitespace().collect();
    assert_eq!(columns, ["1", "-", "1", "1", "-", "-", "-"], "{shown}");

    broker.run(&["fault", "start", "1"]).text();
    until(&broker, "t", |partition| !partition["leader"].is_null());
}

#[test]
fn nodes_are_listed_as_they_are() {
    let broker = three(&["--memory"]);
    broker.topic("t", &["-p", "6"]);
    let list = || listed(&broker, "nodes");
    let listen = |node: usize| broker.ready["nodes"][node]["listen"].clone();
    let alive = |node: usize| json!({"id": node, "state": "alive", "listen": [listen(node)], "holds": 6, "leads": 2, "inSync": 6, "cutFrom": []});
    assert_eq!(list(), json!([alive(0), alive(1), alive(2)]));
    let killed: Value = serde_json::from_str(&broker.run(&["fault", "kill", "2", "--json"]).text()).unwrap();
    let dead = json!({"id": 2, "state": "dead", "listen": [listen(2)], "holds": null, "leads": null, "inSync": null, "cutFrom": []});
    assert_eq!((&killed, &list()[2]), (&dead, &dead));
    broker.run(&["fault", "pause", "1"]).text();
    let shown = broker.run(&["fault", "status"]).text();
    let states: Vec<_> =
        shown.lines().map(|line| line.split_whitespace().nth(1).unwrap().to_owned()).collect();
    assert_eq!(states, ["STATE", "alive", "paused", "dead"], "{shown}");
    assert_eq!(broker.run(&["fault", "resume", "1"]).text(), "resumed node 1\n");
    assert!(broker.end(Signal::TERM).success());
}

#[test]
fn links_are_cut_and_mended() {
    let broker = three(&["--memory", "-c", "replica.lag.time.max.ms=400"]);
    broker.topic("t", &[]);
    broker.produce(&["-t", "t"], "one\n");
    let first = leader(&partitions(&broker, "t"));
    let [second, third] = &["0", "1", "2"].into_iter().filter(|id| **id != *first).collect::<Vec<_>>()[..]
    else {
        panic!("three nodes")
    };
    let cut_from = || -> Vec<Value> {
        listed(&broker, "nodes").as_array().unwrap().iter().map(|node| node["cutFrom"].clone()).collect()
    };
    let said = broker.run(&["fault", "cut", &first, second]).text();
    assert_eq!(said, format!("cut the link between nodes {first} and {second}\n"));
    let place = |id: &str| id.parse::<usize>().unwrap();
    assert_eq!((&cut_from()[place(&first)], &cut_from()[place(second)]), (&json!([second]), &json!([first])));
    broker.produce(&["-t", "t", "--acks", "all"], "two\n");
    until(&broker, "t", are_in_sync(2));
    let said = broker.run(&["fault", "heal", second, &first]).text();
    assert_eq!(said, format!("mended the link between nodes {second} and {first}\n"));
    until(&broker, "t", are_in_sync(3));

    assert_eq!(broker.run(&["fault", "isolate", third]).text(), format!("cut node {third} off\n"));
    let all = json!([first.as_str().min(second), first.as_str().max(second), "controller"]);
    assert_eq!(cut_from()[place(third)], all);
    let shown = broker.run(&["fault", "list"]).text();
    let row = shown.lines().nth(1 + place(third)).unwrap();
    assert!(row.ends_with(" controller"), "{shown}");
    assert_eq!(broker.run(&["fault", "rejoin", third]).text(), format!("mended all links of node {third}\n"));
    assert_eq!(cut_from(), [json!([]), json!([]), json!([])]);
    assert!(broker.run(&["fault", "cut", &first, &first]).failure().contains("no link to itself"));
    broker.run(&["fault", "cut", &first]).usage_error();
}

#[test]
fn an_unclean_election_is_shown_with_what_is_lost() {
    let settings =
        ["replica.lag.time.max.ms=400", "min.insync.replicas=1", "unclean.leader.election.enable=true"];
    let settings: Vec<_> = settings.iter().flat_map(|setting| ["-c", setting]).collect();
    let broker = three(&[&["--memory"][..], &settings].concat());
    broker.topic("t", &[]);
    broker.produce(&["-t", "t", "--acks", "all"], "one\n");
    until(&broker, "t", are_in_sync(3));
    let first = leader(&partitions(&broker, "t"));
    let others: Vec<_> = ["0", "1", "2"].into_iter().filter(|id| *id != first).collect();
    for other in &others {
        broker.run(&["fault", "cut", &first, other]).text();
    }
    broker.produce(&["-t", "t"], "two\nthree\n");
    until(&broker, "t", are_in_sync(1));
    broker.run(&["fault", "kill", &first]).text();
    let shown = |end: &str| {
        let begun = Instant::now();
        loop {
            let shown = broker.run(&["fault", "list"]).text();
            let line = shown.lines().last().unwrap();
            if line.starts_with("unclean election: t-0 is led by node ") && line.ends_with(end) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{shown}");
        }
    };
    shown("; lost: [1, ?)");
    for other in &others {
        broker.run(&["fault", "heal", &first, other]).text();
    }
    broker.run(&["fault", "start", &first]).text();
    until(&broker, "t", are_in_sync(3));
    shown("; lost: [1, 3)");
    let elections = listed(&broker, "uncleanElections");
    let had = json!([{"node": first.parse::<i32>().unwrap(), "from": 1, "to": 3, "committed": 1}]);
    let told = ["number", "topic", "lostFrom", "lostTo", "cut"].map(|name| elections[0][name].clone());
    assert_eq!(told, [json!(1), json!("t"), json!(1), json!(3), had], "{elections}");
}

#[test]
fn a_broker_whose_nodes_are_dead_or_paused_still_stops() {
    let broker = three(&["--memory"]);
    broker.topic("t", &[]);
    for args in [&["kill", "0"][..], &["pause", "1"]] {
        broker.run(&[&["fault"], args].concat()).text();
    }
    assert!(broker.end(Signal::TERM).success());
}

#[test]
fn a_fault_that_cannot_be_says_why() {
    let broker = Broker::start(&["--memory", "--nodes", "2", "--control", "0"]);
    for (args, why) in [
        (&["kill", "2"][..], "there is no node 2: the nodes are 0 and 1"),
        (&["start", "0"], "node 0 is alive already"),
        (&["resume", "0"], "node 0 is not paused"),
    ] {
        let said = broker.run(&[&["fault"], args].concat()).failure();
        assert_eq!(said, format!("highwater: {why}\n"));
    }
    broker.run(&["fault", "kill", "1"]).text();
    assert_eq!(broker.run(&["fault", "kill", "1"]).failure(), "highwater: node 1 is dead already\n");
    broker.run(&["fault", "kill", "-1"]).usage_error();
    broker.run(&["fault", "kill"]).usage_error();
    finish(highwater(&["fault", "kill", "1"]).spawn().unwrap(), b"").usage_error();

    let folder = tempfile::tempdir().unwrap();
    let with_power = Broker::start(&["--control", "0", "--data-dir", folder.path().to_str().unwrap()]);
    let said = with_power.run(&["fault", "poweroff", "0"]).failure();
    assert!(said.ends_with("(`highwater serve --may-lose-power` does)\n"), "{said}");
    assert_eq!(with_power.run(&["fault", "stop", "0"]).text(), "stopped node 0\n");
}

#[test]
fn a_node_whose_port_is_taken_meanwhile_stays_dead() {
    let broker = three(&["--memory"]);
    broker.run(&["fault", "kill", "1"]).text();
    let taken = TcpListener::bind(broker.ready["nodes"][1]["listen"].as_str().unwrap()).unwrap();
    let said = broker.run(&["fault", "start", "1"]).failure();
    assert!(said.starts_with("highwater: node 1: the node cannot listen where it did: "), "{said}");
    drop(taken);
    assert_eq!(broker.run(&["fault", "start", "1"]).text(), "started node 1\n");
}

#[test]
fn where_nobody_takes_orders() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let broker = Broker::in_memory();
    let fault = |control: &str| {
        finish(highwater(&["fault", "kill", "0", "--control", control]).spawn().unwrap(), b"").failure()
    };
    let said = fault(&free.port().to_string());
    assert!(said.starts_with(&format!("highwater: no broker takes orders at {free}: ")), "{said}");
    assert!(
        said.ends_with(&format!("(`highwater serve --control {}` starts one that does)\n", free.port())),
        "{said}"
    );
    let said = fault(&broker.address);
    assert!(said.starts_with("highwater: ") && said.contains(&broker.address), "{said}");
    assert!(fault("nonsense:x").starts_with("highwater: --control nonsense:x is no [HOST:]PORT: "));
}

#[test]
fn several_nodes_need_several_ports() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let first = format!("127.0.0.1:{}", port - 1);
    let refused =
        |args: &[&str]| finish(highwater(&[&["serve", "--memory"], args].concat()).spawn().unwrap(), b"");
    let said = refused(&["--nodes", "3", "--listen", &first]).failure();
    assert!(
        said.starts_with(&format!("highwater: cannot listen on {first} and the next 2 ports: ")),
        "{said}"
    );
    let said = refused(&["--nodes", "2", "--advertise", "kafka:65535"]).failure();
    assert_eq!(said, "highwater: --advertise kafka:65535: 2 nodes need as many ports from there on\n");
    for count in ["0", "10", "x"] {
        refused(&["--nodes", count]).usage_error();
    }
}

#[test]
fn people_are_told_where_each_node_listens() {
    let args = ["serve", "--memory", "--listen", "127.0.0.1:0", "--nodes", "2"];
    let mut process = highwater(&args).spawn().unwrap();
    let mut stdout = process.stdout.take().unwrap();
    for node in 0..2 {
        let line = next_line(&mut stdout);
        assert!(line.contains(&format!(": node {node} listens on 127.0.0.1:")), "{line}");
    }
    process.kill().unwrap();
    process.wait().unwrap();
}

/// A leader that others are to be in sync with knows only with them up to where records are committed.
#[test]
fn a_topic_is_described_when_its_leader_does_not_know_the_end_yet() {
    let broker = three(&["--memory"]);
    broker.topic("t", &[]);
    broker.produce(&["-t", "t", "--acks", "all"], "one\n");
    until(&broker, "t", are_in_sync(3));
    let first = leader(&partitions(&broker, "t"));
    for other in ["0", "1", "2"].into_iter().filter(|id| **id != *first) {
        broker.run(&["fault", "kill", other]).text();
    }
    broker.produce(&["-t", "t", "--acks", "1"], "two\n");
    for order in ["stop", "start"] {
        broker.run(&["fault", order, &first]).text();
    }
    until(&broker, "t", |partition| !partition["leader"].is_null());
    let described = broker.run(&["topic", "describe", "t"]).text();
    let row: Vec<_> = described.lines().last().unwrap().split_whitespace().collect();
    assert_eq!((row[1], row[4], row[6]), (&first[..], &first[..], "-"), "{described}");
}
