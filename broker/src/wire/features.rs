//! The features of the cluster: what ApiVersions tells of them, and UpdateFeatures (`FeatureControlManager`).
//!
//! Every feature is at the level at which the cluster began, so that nothing can be changed; to ask for the level that is in
//! force is no change.

use highwater_protocol::messages::api_versions::{FinalizedFeatureKey, SupportedFeatureKey};
use highwater_protocol::messages::update_features::{FeatureUpdateKey, UpdatableFeatureResult};
use highwater_protocol::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use highwater_protocol::{ErrorCode, Text};

use crate::refusal::Refusal;
use crate::transaction::TransactionVersion;

/// A feature with its levels.
struct Feature {
    name: &'static str,
    first: i16,
    last: i16,
}

/// `group.version` 1 is the consumer protocol of KIP-848. `metadata.version` 30 is that of Kafka 4.3, whose
/// administration this is: tools read from it which Kafka they speak to. `transaction.version` 2 is KIP-890.
static FEATURES: &[Feature] = &[
    Feature { name: "group.version", first: 1, last: 1 },
    Feature { name: "metadata.version", first: 30, last: 30 },
    Feature { name: TRANSACTIONS, first: 0, last: 2 },
];
const TRANSACTIONS: &str = "transaction.version";

impl Feature {
    /// The level that is in force.
    fn level(&self, transactions: TransactionVersion) -> i16 {
        if self.name == TRANSACTIONS { transactions.level() } else { self.last }
    }
}

/// From here on the answer does not tell of each feature.
const FIRST_WITHOUT_RESULTS: i16 = 2;
/// Which way a feature may go: up, down where nothing is lost, down in any case.
const UPGRADE_TYPES: [i8; 3] = [1, 2, 3];
/// The state that the features are in; it never changes.
pub(super) const EPOCH: i64 = 0;

/// Some who ask cannot read a feature that begins at level 0.
pub(super) fn supported(reads_0: bool) -> Vec<SupportedFeatureKey> {
    let one = |feature: &Feature| SupportedFeatureKey {
        name: Text::from_static(feature.name),
        min_version: feature.first,
        max_version: feature.last,
    };
    FEATURES.iter().filter(|feature| reads_0 || feature.first > 0).map(one).collect()
}

/// A feature at level 0 is as if it were not there.
pub(super) fn finalized(transactions: TransactionVersion) -> Vec<FinalizedFeatureKey> {
    let one = |feature: &Feature| {
        let level = feature.level(transactions);
        (level > 0).then(|| FinalizedFeatureKey {
            name: Text::from_static(feature.name),
            max_version_level: level,
            min_version_level: level,
        })
    };
    FEATURES.iter().filter_map(one).collect()
}

pub(super) fn update(
    request: UpdateFeaturesRequest,
    version: i16,
    transactions: TransactionVersion,
) -> UpdateFeaturesResponse {
    let of_one = |update| Some((update, check(update, transactions).err()?));
    let refused = request.feature_updates.iter().find_map(of_one);
    if let Some((update, why)) = refused {
        let (name, level) = (update.feature.as_str(), update.max_version_level);
        let words = format!(
            "The update failed for all features since the following feature had an error: Invalid update version \
             {level} for feature {name}. {why}"
        );
        return UpdateFeaturesResponse {
            error_code: ErrorCode::InvalidUpdateVersion,
            error_message: Some(Refusal::invalid_request(words).words()),
            ..Default::default()
        };
    }
    let one = |update: FeatureUpdateKey| UpdatableFeatureResult {
        feature: update.feature,
        error_code: ErrorCode::None,
        error_message: Some(Text::from_static(ErrorCode::None.message())),
    };
    let told = version < FIRST_WITHOUT_RESULTS;
    let results = request.feature_updates.into_iter().filter(|_| told).map(one).collect();
    UpdateFeaturesResponse { results, ..Default::default() }
}

fn check(update: &FeatureUpdateKey, transactions: TransactionVersion) -> Result<(), String> {
    if !UPGRADE_TYPES.contains(&update.upgrade_type) {
        return Err("The controller does not support the given upgrade type.".into());
    }
    let asked = update.max_version_level;
    if asked < 0 {
        return Err("A feature version cannot be less than 0.".into());
    }
    match FEATURES.iter().find(|feature| feature.name == update.feature.as_str()) {
        Some(feature) if asked == feature.level(transactions) => Ok(()),
        Some(feature) => {
            let level = feature.level(transactions);
            Err(format!("The cluster began at version {level}, and supports no other while it runs."))
        }
        None => Err("The cluster does not support this feature.".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(feature: &str, level: i16, upgrade_type: i8) -> ErrorCode {
        let update = FeatureUpdateKey {
            feature: Text::from(feature),
            max_version_level: level,
            upgrade_type,
            ..Default::default()
        };
        update_of(vec![update]).error_code
    }

    fn update_of(feature_updates: Vec<FeatureUpdateKey>) -> UpdateFeaturesResponse {
        update(UpdateFeaturesRequest { feature_updates, ..Default::default() }, 1, TransactionVersion::V2)
    }

    #[test]
    fn the_level_that_is_in_force_may_be_asked_for_and_no_other() {
        for FinalizedFeatureKey { name, max_version_level: level, .. } in finalized(TransactionVersion::V2) {
            assert_eq!(code(&name, level, 1), ErrorCode::None);
            for (other, upgrade_type) in [(level + 1, 1), (level - 1, 2), (level - 1, 3), (-1, 1), (level, 0)]
            {
                assert_eq!(code(&name, other, upgrade_type), ErrorCode::InvalidUpdateVersion, "{other}");
            }
        }
        assert_eq!(code("share.version", 1, 1), ErrorCode::InvalidUpdateVersion);
        assert_eq!(code("share.version", 0, 2), ErrorCode::InvalidUpdateVersion);
        assert_eq!(update_of(Vec::new()).results, []);
    }

    #[test]
    fn transactions_run_by_the_rules_that_were_asked_for_at_the_start() {
        let level = |version| {
            let found = finalized(version).into_iter().find(|feature| feature.name.as_str() == TRANSACTIONS);
            found.map(|feature| feature.max_version_level)
        };
        let versions = [TransactionVersion::V0, TransactionVersion::V1, TransactionVersion::V2];
        assert_eq!(versions.map(level), [None, Some(1), Some(2)]);
        let first = |reads_0| {
            let found = supported(reads_0).into_iter().find(|feature| feature.name.as_str() == TRANSACTIONS);
            found.map(|feature| feature.min_version)
        };
        assert_eq!((first(true), first(false)), (Some(0), None));
    }
}
