//! A group member's options, with their defaults and why.

use std::time::Duration;

use highwater_protocol::Text;

use super::assignor::Assignor;
use crate::error::{Error, Result};

/// How a consumer takes part in its group. Names follow Kafka's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupConfig {
    /// `group.id`.
    pub group_id: Text,
    /// `group.instance.id`: a name of its own makes the consumer a static member (KIP-345), which keeps its partitions when
    /// it is started again within `session_timeout`. Default none.
    pub group_instance_id: Option<Text>,
    /// `session.timeout.ms`, default 45 s: a member not heard of for so long is taken for dead.
    pub session_timeout: Duration,
    /// `heartbeat.interval.ms`, default 3 s; also how soon a member hears that the group rebalances.
    pub heartbeat_interval: Duration,
    /// `max.poll.interval.ms`, default 5 minutes: a consumer that is not polled for so long leaves the group. It is also how
    /// long a rebalance waits for a member to give back its partitions and join again.
    pub max_poll_interval: Duration,
    /// `partition.assignment.strategy`, the one liked best first; default range and cooperative sticky, as in Kafka. Members
    /// keep reading through a rebalance only when all of theirs are cooperative.
    pub assignors: Vec<Assignor>,
    /// `enable.auto.commit`, default yes: what earlier polls gave counts as processed when the next one begins, and is
    /// committed every `auto_commit_interval`, before partitions are given back, and at the end.
    pub auto_commit: bool,
    /// `auto.commit.interval.ms`, default 5 s.
    pub auto_commit_interval: Duration,
    /// `default.api.timeout.ms`, default 60 s: how long a commit that is waited for is tried again.
    pub api_timeout: Duration,
    /// How long closing may take, default 30 s, as in Kafka's `close()`.
    pub close_timeout: Duration,
}

impl GroupConfig {
    /// The defaults, for this group.
    #[must_use]
    pub fn new(group_id: impl Into<Text>) -> Self {
        Self {
            group_id: group_id.into(),
            group_instance_id: None,
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            max_poll_interval: Duration::from_secs(300),
            assignors: vec![Assignor::Range, Assignor::CooperativeSticky],
            auto_commit: true,
            auto_commit_interval: Duration::from_secs(5),
            api_timeout: Duration::from_secs(60),
            close_timeout: Duration::from_secs(30),
        }
    }

    /// Says which option cannot be, if any.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check(&self) -> Result<()> {
        if self.group_id.is_empty() {
            return Err(Error::config("group.id", "not empty"));
        }
        if self.group_instance_id.as_ref().is_some_and(|name| name.is_empty()) {
            return Err(Error::config("group.instance.id", "not empty"));
        }
        if self.heartbeat_interval.is_zero() || self.heartbeat_interval >= self.session_timeout {
            return Err(Error::config("heartbeat.interval.ms", "less than session.timeout.ms, and not zero"));
        }
        if self.max_poll_interval.is_zero() || self.auto_commit_interval.is_zero() {
            return Err(Error::config("max.poll.interval.ms, auto.commit.interval.ms", "not zero"));
        }
        let names = |index: usize| self.assignors[index + 1..].contains(&self.assignors[index]);
        if self.assignors.is_empty() || (0..self.assignors.len()).any(names) {
            return Err(Error::config("partition.assignment.strategy", "at least one assignor, each once"));
        }
        Ok(())
    }

    /// Whether members keep reading through a rebalance: only when every assignor that may be chosen allows it.
    #[must_use]
    pub fn is_cooperative(&self) -> bool {
        self.assignors.iter().all(|assignor| assignor.is_cooperative())
    }

    /// Its assignor of this name.
    pub(super) fn assignor(&self, name: &str) -> Option<Assignor> {
        self.assignors.iter().copied().find(|assignor| assignor.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_named() {
        assert_eq!(GroupConfig::new("g").check().map_err(|error| error.to_string()), Ok(()));
        let wrong = |change: &dyn Fn(&mut GroupConfig)| {
            let mut config = GroupConfig::new("g");
            change(&mut config);
            let Err(Error::Config { option, .. }) = config.check() else { panic!("{config:?}") };
            option
        };
        assert_eq!(wrong(&|config| config.group_id = "".into()), "group.id");
        assert_eq!(wrong(&|config| config.group_instance_id = Some("".into())), "group.instance.id");
        assert_eq!(
            wrong(&|config| config.heartbeat_interval = config.session_timeout),
            "heartbeat.interval.ms"
        );
        assert_eq!(wrong(&|config| config.assignors.clear()), "partition.assignment.strategy");
        assert_eq!(wrong(&|config| config.assignors.push(Assignor::Range)), "partition.assignment.strategy");
    }

    #[test]
    fn one_eager_assignor_makes_the_member_eager() {
        let mut config = GroupConfig::new("g");
        assert!(!config.is_cooperative());
        config.assignors = vec![Assignor::CooperativeSticky];
        assert!(config.is_cooperative());
    }
}
