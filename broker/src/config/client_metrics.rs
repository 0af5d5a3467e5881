//! The settings of a subscription to clients' metrics (KIP-714, `ClientMetricsConfigs`). Nobody subscribes here: what is
//! told of any is what Kafka tells of one that nobody made.

use super::definition::{Definition, Kind};
use super::{Effective, Source};

static DEFINITIONS: &[Definition] = &[
    Definition {
        name: "interval.ms",
        kind: Kind::IntBetween { min: 100, max: 3_600_000 },
        default: "300000",
        broker_name: None,
        doc: "How often clients send their metrics.",
    },
    Definition {
        name: "match",
        kind: Kind::Words,
        default: "",
        broker_name: None,
        doc: "Which clients send theirs.",
    },
    Definition {
        name: "metrics",
        kind: Kind::Words,
        default: "",
        broker_name: None,
        doc: "What the names of the metrics that are sent begin with.",
    },
];

/// The settings of any subscription.
pub(crate) fn describe() -> Vec<Effective> {
    let one = |definition: &'static Definition| Effective {
        name: definition.name,
        definition,
        value: definition.default.to_owned(),
        source: Source::Default,
        is_read_only: false,
        synonyms: Vec::new(),
    };
    DEFINITIONS.iter().map(one).collect()
}
