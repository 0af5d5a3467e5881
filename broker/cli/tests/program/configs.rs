//! `highwater config`.

use serde_json::{Value, json};

use crate::harness::Broker;

#[test]
fn settings_that_were_made_are_shown_and_others_on_demand() {
    let broker = Broker::start(&["--memory", "-c", "num.partitions=2"]);
    broker.topic("t", &["-c", "segment.ms=5000", "-c", "retention.bytes=10000"]);
    broker.topic("plain", &[]);
    assert_eq!(broker.run(&["config", "describe", "-t", "plain"]).text(), "");
    let expected = "  NAME             VALUE  SET BY\n  \
                      retention.bytes  10000  topic\n  \
                      segment.ms       5000   topic\n";
    assert_eq!(broker.run(&["config", "describe", "-t", "t"]).text(), expected);
    let named = broker.run(&["config", "describe", "-t", "t", "segment.ms", "retention.ms", "--json"]).text();
    let setting = |name: &str, value: &str, source: &str| json!({"name": name, "value": value, "source": source, "readOnly": false, "sensitive": false});
    assert_eq!(
        serde_json::from_str::<Value>(&named).unwrap(),
        json!([setting("retention.ms", "604800000", "default"), setting("segment.ms", "5000", "topic")])
    );
    let all = broker.run(&["config", "describe", "-t", "t", "--all"]).text();
    assert!(all.lines().count() > 10 && all.contains("  max.message.bytes"), "{all}");
    let of_broker = broker.run(&["config", "describe", "--broker", "0"]).text();
    let partitions = of_broker.lines().find(|line| line.contains("num.partitions")).unwrap();
    assert_eq!(partitions.split_whitespace().collect::<Vec<_>>()[..2], ["num.partitions", "2"]);
}

/// Name, value and source of the settings that were made.
fn made(broker: &Broker, of: &[&str]) -> Vec<(String, String, String)> {
    let shown = broker.run(&[&["config", "describe", "--json"], of].concat()).text();
    let text = |setting: &Value, name: &str| setting[name].as_str().unwrap_or_default().to_owned();
    let settings: Vec<Value> = serde_json::from_str(&shown).unwrap();
    settings
        .iter()
        .map(|setting| (text(setting, "name"), text(setting, "value"), text(setting, "source")))
        .collect()
}

#[test]
fn lists_are_added_to_and_taken_out_of() {
    let broker = Broker::in_memory();
    broker.topic("t", &[]);
    let policy = || made(&broker, &["-t", "t", "cleanup.policy"]).remove(0).1;
    let alter = |args: &[&str]| broker.run(&[&["config", "alter", "-t", "t"], args].concat()).text();
    alter(&["--subtract", "cleanup.policy=delete"]);
    assert_eq!(policy(), "");
    alter(&["--append", "cleanup.policy=delete"]);
    assert_eq!(policy(), "delete");
}

#[test]
fn what_all_brokers_say_holds_where_one_says_nothing() {
    let broker = Broker::in_memory();
    let alter = |args: &[&str]| broker.run(&[&["config", "alter"], args].concat()).text();
    let retention = || made(&broker, &["--broker", "0", "log.retention.ms"]).remove(0).1;
    alter(&["--broker", "0", "-c", "log.retention.ms=7000"]);
    let said = alter(&["--all-brokers", "-c", "log.retention.ms=8000"]);
    assert_eq!(said, "the settings of all brokers are changed\n");
    assert_eq!(retention(), "7000", "its own comes first");
    alter(&["--broker", "0", "-u", "log.retention.ms"]);
    assert_eq!(retention(), "8000");
    let all = ("log.retention.ms".to_owned(), "8000".to_owned(), "all brokers".to_owned());
    assert_eq!(made(&broker, &["--all-brokers"]), [all]);
}

#[test]
fn what_is_not_there_is_told() {
    let broker = Broker::in_memory();
    broker.topic("t", &[]);
    for (args, said) in [
        (&["-t", "u"][..], "topic u does not exist (`highwater topic list` names those that do)"),
        (&["-t", "t", "segment.ms", "nonsense"], "there is no setting nonsense"),
    ] {
        let refused = broker.run(&[&["config", "describe"], args].concat()).failure();
        assert_eq!(refused, format!("highwater: {said}\n"));
    }
    let refused = broker.run(&["config", "describe", "--broker", "7"]).failure();
    assert!(refused.starts_with("highwater: finding broker 7 was refused: "), "{refused}");
    for args in [&[][..], &["-t", "t", "--broker", "0"], &["--broker", "x"]] {
        broker.run(&[&["config", "describe"], args].concat()).usage_error();
    }
}

#[test]
fn settings_are_made_and_unmade_while_it_runs() {
    let broker = Broker::in_memory();
    broker.topic("t", &["-c", "segment.ms=5000"]);
    let alter = ["config", "alter", "-t", "t", "-c", "retention.bytes=10000", "-u", "segment.ms"];
    let tried = broker.run(&[&alter[..], &["--dry-run"]].concat()).text();
    assert_eq!(tried, "the settings of topic t can be changed so\n");
    let before = "  NAME        VALUE  SET BY\n  segment.ms  5000   topic\n";
    assert_eq!(broker.run(&["config", "describe", "-t", "t"]).text(), before);
    assert_eq!(broker.run(&alter).text(), "the settings of topic t are changed\n");
    let told = broker.run(&[&alter[..], &["--json"]].concat()).text();
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told, json!([{"type": "topic", "name": "t", "error": null}]));
    let after = "  NAME             VALUE  SET BY\n  retention.bytes  10000  topic\n";
    assert_eq!(broker.run(&["config", "describe", "-t", "t"]).text(), after);

    let altered = broker.run(&["config", "alter", "--broker", "0", "-c", "log.retention.ms=7200000"]).text();
    assert_eq!(altered, "the settings of broker 0 are changed\n");
    let broker_says =
        broker.run(&["config", "describe", "--broker", "0", "log.retention.ms", "--json"]).text();
    let said: Value = serde_json::from_str(&broker_says).unwrap();
    assert_eq!(said[0]["value"], "7200000");
    let topic_says = broker.run(&["config", "describe", "-t", "t", "retention.ms", "--json"]).text();
    assert_eq!(serde_json::from_str::<Value>(&topic_says).unwrap()[0]["value"], "7200000");
}

#[test]
fn settings_that_cannot_be_are_refused_all_of_them() {
    let broker = Broker::in_memory();
    broker.topic("t", &[]);
    let alter = ["config", "alter", "-t", "t", "-c", "retention.bytes=10000", "-c"];
    for wrong in ["segment.ms=0", "nonsense=1"] {
        let refused = broker.run(&[&alter[..], &[wrong]].concat()).failure();
        assert!(refused.contains(wrong.split('=').next().unwrap()), "{refused}");
    }
    assert_eq!(broker.run(&["config", "describe", "-t", "t"]).text(), "");
    let refused = broker.run(&["config", "alter", "--broker", "0", "-c", "broker.id=7"]).failure();
    assert!(refused.contains("broker.id"), "{refused}");
    let nothing = broker.run(&["config", "alter", "-t", "t"]).usage_error();
    for what in ["--config", "--unset", "--append", "--subtract"] {
        assert!(nothing.contains(what), "{nothing}");
    }
    let refused = broker.run(&["config", "alter", "--broker", "0", "-c", "nonsense=1"]).failure();
    assert!(refused.starts_with("highwater: changing the settings of broker 0 was refused: "), "{refused}");
    broker.run(&["config", "alter", "-c", "segment.ms=5000"]).usage_error();
}
