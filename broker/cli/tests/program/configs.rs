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
