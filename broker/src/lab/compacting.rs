//! Whether the logs of a run are compacted, and how eagerly: every replica does so by itself, so batches shrink and go in one
//! log that are whole in another, while followers are behind and leaders change. Drawn by a generator of its own, like what
//! else wide runs have.

use super::chance::Chance;
use super::committed::Compacts;
use super::names::Keys;
use crate::config::BrokerConfig;

/// Sets its generator apart from the others.
const SALT: u64 = 0x6b65_7973;

/// How many keys are written, and what compaction may take.
pub(super) fn draw(seed: u64, config: &mut BrokerConfig) -> (Keys, Compacts) {
    let mut chance = Chance::from_seed(seed ^ SALT);
    if !chance.percent(30) {
        return (None, Compacts::Nothing);
    }
    let mut set = |name, value: &str| config.set(name, value).expect("a setting that there is");
    set("log.cleanup.policy", chance.pick(&["compact", "compact", "compact,delete"]));
    // A segment ends when its index is full: with room for so many batches it is small, whatever is in them.
    set("log.index.interval.bytes", chance.pick(&["0", "1000"]));
    set("log.index.size.max.bytes", chance.pick(&["40", "80", "400"]));
    set("log.cleaner.backoff.ms", chance.pick(&["100", "1000", "5000"]));
    set("log.cleaner.min.cleanable.ratio", chance.pick(&["0.01", "0.5"]));
    let delete_retention_ms = chance.pick(&["86400000", "0", "2000"]);
    set("log.cleaner.delete.retention.ms", delete_retention_ms);
    let compacts = match delete_retention_ms {
        "86400000" => Compacts::Superseded,
        _ => Compacts::SupersededAndDeletions,
    };
    (Some(chance.pick(&[3, 20, 100])), compacts)
}
