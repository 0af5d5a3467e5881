//! What is set of nodes among others: where each is, how they hear of each other, who follows and who leads.

use super::BrokerConfig;
use super::definitions::RACK_AWARE_SELECTOR;
use crate::config::micros;
use crate::ids::NodeId;

impl BrokerConfig {
    /// `auto.leader.rebalance.enable`.
    pub fn rebalances_leaders(&self) -> bool {
        self.text("auto.leader.rebalance.enable").eq_ignore_ascii_case("true")
    }

    /// `leader.imbalance.check.interval.seconds`, in microseconds.
    pub fn rebalance_check_micros(&self) -> u64 {
        micros(self.long("leader.imbalance.check.interval.seconds").saturating_mul(1_000))
    }

    /// `unclean.leader.election.interval.ms`, in microseconds.
    pub fn unclean_election_micros(&self) -> u64 {
        micros(self.long("unclean.leader.election.interval.ms"))
    }

    /// `broker.session.timeout.ms`, in microseconds.
    pub fn session_timeout_micros(&self) -> u64 {
        micros(i64::from(self.int("broker.session.timeout.ms")))
    }

    /// `replica.lag.time.max.ms`, in microseconds.
    pub(crate) fn lag_micros(&self) -> u64 {
        micros(self.long("replica.lag.time.max.ms"))
    }

    /// `broker.heartbeat.interval.ms`.
    pub(crate) fn node_heartbeat_ms(&self) -> i32 {
        self.int("broker.heartbeat.interval.ms").max(1)
    }

    /// `replica.fetch.backoff.ms`.
    pub(crate) fn fetch_backoff_ms(&self) -> i32 {
        self.int("replica.fetch.backoff.ms")
    }

    /// `replica.high.watermark.checkpoint.interval.ms`.
    pub(crate) fn high_watermark_interval_ms(&self) -> i32 {
        i32::try_from(self.long("replica.high.watermark.checkpoint.interval.ms")).unwrap_or(i32::MAX).max(0)
    }

    /// The same with a rack for each node, counted from 0; in place of one for all.
    #[must_use]
    pub(crate) fn with_racks(self, racks: Vec<String>) -> Self {
        Self { racks: racks.into(), ..self }
    }

    /// The same as one of the nodes has it: its rack is its own.
    #[must_use]
    pub(crate) fn of_node(&self, node: NodeId) -> Self {
        let mut own = self.clone();
        if let Some(rack) = self.own_rack(node) {
            own.given.insert("broker.rack", rack.to_owned());
        }
        own
    }

    /// Where a node is, if that is known: `broker.rack`.
    pub(crate) fn rack_of(&self, node: NodeId) -> Option<&str> {
        self.own_rack(node).or_else(|| Some(self.text("broker.rack"))).filter(|rack| !rack.is_empty())
    }

    fn own_rack(&self, node: NodeId) -> Option<&str> {
        self.racks.get(usize::try_from(node.0).ok()?).map(String::as_str)
    }

    /// Whether consumers are sent to replicas in their racks: `replica.selector.class`.
    pub(crate) fn selects_by_rack(&self) -> bool {
        self.text("replica.selector.class") == RACK_AWARE_SELECTOR
    }
}
