//! `highwater topic`.

use serde_json::{Value, json};

use crate::harness::Broker;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_topic_is_made_listed_described_and_deleted() {
    let broker = Broker::in_memory();
    assert_eq!(broker.run(&["topic", "list"]).text(), "");
    let create =
        ["topic", "create", "orders", "-p", "2", "-c", "segment.ms=1000", "-c", "segment.bytes=1048576"];
    assert_eq!(broker.run(&create).text(), "created topic orders (2 partitions, 1 replica each)\n");
    assert_eq!(
        broker.run(&["topic", "create", "audit", "-r", "1"]).text(),
        "created topic audit (1 partition, 1 replica each)\n"
    );
    assert_eq!(broker.run(&["topic", "list"]).text(), "audit\norders\n");

    broker.produce(&["-t", "orders", "-p", "1"], "one\ntwo\n");
    let listed = json(&broker.run(&["topic", "list", "--json"]).text());
    let id = listed[1]["id"].as_str().unwrap();
    assert_eq!(id.len(), 22);
    let expected = format!(
        "orders: 2 partitions, 1 replica each, id {id}\n  \
           segment.bytes=1048576\n  \
           segment.ms=1000\n  \
           PARTITION  LEADER  EPOCH  REPLICAS  ISR  START  END\n          \
                   0       0      0         0    0      0    0\n          \
                   1       0      0         0    0      0    2\n"
    );
    assert_eq!(broker.run(&["topic", "describe", "orders"]).text(), expected);
    let all = broker.run(&["topic", "describe"]).text();
    assert!(all.starts_with("audit: 1 partition, ") && all.ends_with(&format!("\n\n{expected}")), "{all}");

    assert_eq!(broker.run(&["topic", "delete", "orders"]).text(), "deleted topic orders\n");
    assert_eq!(broker.run(&["topic", "list"]).text(), "audit\n");
}

#[test]
fn descriptions_are_json_on_demand() {
    let broker = Broker::in_memory();
    broker.topic("t", &["-c", "message.timestamp.type=LogAppendTime"]);
    broker.produce(&["-t", "t"], "one\n");
    let listed = json(&broker.run(&["topic", "list", "--json"]).text());
    let id = &listed[0]["id"];
    assert_eq!(
        listed,
        json!([{"name": "t", "id": id, "internal": false, "partitions": 1, "replicationFactor": 1}])
    );
    let described = json(&broker.run(&["topic", "describe", "--json"]).text());
    assert_eq!(
        described,
        json!([{
            "name": "t", "id": id, "internal": false,
            "settings": {"message.timestamp.type": "LogAppendTime"},
            "partitions": [{
                "partition": 0, "leader": 0, "leaderEpoch": 0, "replicas": [0], "isr": [0], "offline": [],
                "startOffset": 0, "endOffset": 1,
            }],
        }])
    );
}

#[test]
fn what_topics_take_on_disk_is_shown() {
    let broker = Broker::in_memory();
    broker.topic("t", &["-p", "2"]);
    broker.topic("u", &[]);
    broker.produce(&["-t", "t", "-p", "1"], "0123456789");
    let sizes = |args: &[&str]| -> Vec<Value> {
        serde_json::from_str(&broker.run(&[&["topic", "sizes", "--json"], args].concat()).text()).unwrap()
    };
    let all = sizes(&[]);
    let named: Vec<_> =
        all.iter().map(|log| (log["topic"].as_str().unwrap(), log["partition"].as_i64().unwrap())).collect();
    assert_eq!(named, [("t", 0), ("t", 1), ("u", 0)]);
    assert_eq!((all[0]["sizeBytes"].as_u64(), all[2]["sizeBytes"].as_u64()), (Some(0), Some(0)));
    assert!(all[1]["sizeBytes"].as_u64().unwrap() > 10, "{all:?}");
    assert_eq!(sizes(&["u"]).len(), 1);
    broker.run(&["consume", "-t", "u", "-g", "g", "-e"]).text();
    assert_eq!(sizes(&[]).len(), 3);
    assert!(sizes(&["--internal"]).len() > 3);
    let shown = broker.run(&["topic", "sizes", "t"]).text();
    let heading: Vec<_> = shown.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(heading, ["TOPIC", "PARTITION", "BROKER", "BYTES", "FOLDER"]);
    assert!(broker.run(&["topic", "sizes", "v"]).failure().starts_with("highwater: topic v does not exist"));
}

#[test]
fn what_is_there_already_or_not_there_may_be_fine() {
    let broker = Broker::in_memory();
    broker.topic("t", &[]);
    assert_eq!(broker.run(&["topic", "create", "t"]).failure(), "highwater: topic t exists already\n");
    assert_eq!(broker.run(&["topic", "create", "t", "--if-not-exists"]).text(), "topic t exists already\n");
    let missing = "topic u does not exist (`highwater topic list` names those that do)";
    assert_eq!(broker.run(&["topic", "delete", "u"]).failure(), format!("highwater: {missing}\n"));
    assert_eq!(broker.run(&["topic", "describe", "u"]).failure(), format!("highwater: {missing}\n"));
    // One name that is wrong does not hide the others.
    let ran = broker.run(&["topic", "describe", "u", "t"]);
    assert_eq!((ran.code(), ran.err()), (Some(1), format!("highwater: {missing}\n")));
    assert!(ran.out().starts_with("t: 1 partition"), "{}", ran.out());
    assert_eq!(
        broker.run(&["topic", "delete", "u", "t", "--if-exists"]).text(),
        "deleted topic t\ntopic u does not exist\n"
    );
}

#[test]
fn what_can_be_deleted_is_deleted_and_the_rest_told() {
    let broker = Broker::in_memory();
    broker.topic("t", &[]);
    let ran = broker.run(&["topic", "delete", "u", "t", "s"]);
    assert_eq!(ran.code(), Some(1));
    let missing = |name: &str| {
        format!("highwater: topic {name} does not exist (`highwater topic list` names those that do)\n")
    };
    let expected = [missing("s"), missing("u"), "highwater: 2 topics could not be deleted\n".to_owned()];
    assert_eq!(ran.err(), expected.concat());
    assert_eq!(broker.run(&["topic", "list"]).text(), "");
}

#[test]
fn a_topic_that_cannot_be_is_refused_in_the_brokers_words() {
    let broker = Broker::in_memory();
    for (args, words) in [
        (&["t", "-c", "nonsense=1"][..], "Unknown topic config name: nonsense (INVALID_CONFIG)"),
        (&["t", "-r", "3"], "only 1 broker(s) are registered"),
        (&["a b"], "contains one or more characters other than ASCII alphanumerics"),
    ] {
        let said = broker.run(&[&["topic", "create"], args].concat()).failure();
        assert!(said.starts_with("highwater: creating topic ") && said.contains(words), "{said}");
    }
    for args in [&["t", "-p", "0"][..], &["t", "-r", "0"], &["t", "-c", "nonsense"], &[]] {
        broker.run(&[&["topic", "create"], args].concat()).usage_error();
    }
}

#[test]
fn a_topic_gets_more_partitions_and_other_settings() {
    let broker = Broker::in_memory();
    broker.topic("t", &["-p", "2", "-c", "segment.ms=5000"]);
    let alter = ["topic", "alter", "t", "-p", "5", "-c", "retention.bytes=10000", "-u", "segment.ms"];
    let tried = broker.run(&[&alter[..], &["--dry-run"]].concat()).text();
    assert_eq!(tried, "settings of topic t can be changed so\npartitions of topic t can be changed so\n");
    assert!(broker.run(&["topic", "describe", "t"]).text().starts_with("t: 2 partitions"));

    let altered = broker.run(&alter).text();
    assert_eq!(altered, "changed settings of topic t\nchanged partitions of topic t\n");
    let described = json(&broker.run(&["topic", "describe", "t", "--json"]).text());
    assert_eq!(described[0]["partitions"].as_array().unwrap().len(), 5);
    assert_eq!(described[0]["settings"], serde_json::json!({"retention.bytes": "10000"}));
    broker.produce(&["-t", "t", "-p", "4"], "one\n");

    let done = broker.run(&["topic", "alter", "t", "-c", "retention.bytes=20000", "--json"]).text();
    assert_eq!(json(&done), serde_json::json!([{"topic": "t", "change": "settings", "error": null}]));
}

#[test]
fn an_alteration_of_which_some_is_refused_is_not_made_at_all() {
    let broker = Broker::in_memory();
    broker.topic("t", &["-p", "2"]);
    let fewer = broker.run(&["topic", "alter", "t", "-p", "1", "-c", "segment.ms=5000", "--json"]);
    assert_eq!(fewer.code(), Some(1));
    assert!(fewer.err().contains("currently has 2 partition"), "{}", fewer.err());
    let told = json(&fewer.out());
    let unmade = "topic t is left as it is: all of it can be changed, or nothing";
    assert_eq!(told[0], serde_json::json!({"topic": "t", "change": "settings", "error": unmade}));
    assert!(told[1]["error"].as_str().unwrap().contains("currently has 2 partition"), "{told}");
    let wrong = broker.run(&["topic", "alter", "t", "-p", "8", "-c", "retention.ms=abc"]).failure();
    let [why, left, summary] = wrong.lines().collect::<Vec<_>>()[..] else { panic!("{wrong}") };
    assert!(why.starts_with("highwater: changing the settings of topic t was refused: "), "{why}");
    assert!(why.contains("retention.ms"), "{why}");
    assert_eq!((left, summary), (&*format!("highwater: {unmade}"), "highwater: 2 changes could not be made"));
    let described = json(&broker.run(&["topic", "describe", "t", "--json"]).text());
    assert_eq!(described[0]["partitions"].as_array().unwrap().len(), 2);
    assert_eq!(described[0]["settings"], serde_json::json!({}));
    assert_eq!(
        broker.run(&["topic", "alter", "u", "-p", "3"]).failure(),
        "highwater: topic u does not exist (`highwater topic list` names those that do)\n"
    );
    let nothing = broker.run(&["topic", "alter", "t"]).usage_error();
    for what in ["--partitions", "--config", "--unset", "--append", "--subtract"] {
        assert!(nothing.contains(what), "{nothing}");
    }
    broker.run(&["topic", "alter", "t", "-p", "0"]).usage_error();
}
