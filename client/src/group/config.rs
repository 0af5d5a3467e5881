//! A group member's options, with their defaults and why.

use std::time::Duration;

use highwater_protocol::Text;

use super::assignor::Assignor;
use crate::error::{Error, Result};

/// How a group divides its topics among its members (`group.protocol`). All members of a group speak the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GroupProtocol {
    /// One of the members divides, and everybody stops for it, or at least looks up. Every broker speaks it; the default, as in
    /// Kafka.
    #[default]
    Classic,
    /// The coordinator divides, and tells each member by itself what to give back and what it has got (KIP-848): members that
    /// are not concerned read on. Kafka's brokers speak it since 4.0.
    Consumer,
}

/// How a consumer takes part in its group. Names follow Kafka's settings.
///
/// Some settings belong to one protocol, where the other leaves it to the coordinator; changed from their defaults they are
/// refused with the other one, as by Kafka's consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupConfig {
    /// `group.id`.
    pub group_id: Text,
    /// `group.protocol`.
    pub protocol: GroupProtocol,
    /// `group.instance.id`: a name of its own makes the consumer a static member (KIP-345), which keeps its partitions when
    /// it is started again before its session is over. Default none.
    pub group_instance_id: Option<Text>,
    /// `client.rack`: where the consumer is; brokers and leaders that know where replicas are may divide by it (KIP-881). Default
    /// none.
    pub rack: Option<Text>,
    /// `session.timeout.ms`, default 45 s: a member not heard of for so long is taken for dead. Classic protocol only: with
    /// the other the broker says (`group.consumer.session.timeout.ms`).
    pub session_timeout: Duration,
    /// `heartbeat.interval.ms`, default 3 s; also how soon a member hears that the group rebalances. Classic protocol only
    /// (`group.consumer.heartbeat.interval.ms`).
    pub heartbeat_interval: Duration,
    /// `max.poll.interval.ms`, default 5 minutes: a consumer that is not polled for so long leaves the group. It is also how
    /// long a rebalance waits for a member to give back its partitions.
    pub max_poll_interval: Duration,
    /// `partition.assignment.strategy`, the one liked best first; default range and cooperative sticky, as in Kafka. Members
    /// keep reading through a rebalance only when all of theirs are cooperative. Classic protocol only.
    pub assignors: Vec<Assignor>,
    /// `group.remote.assignor`: how the coordinator is to divide, `uniform` or `range`; the wish of most members counts. Default
    /// none, as the coordinator likes. Consumer protocol only.
    pub remote_assignor: Option<Text>,
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
            protocol: GroupProtocol::Classic,
            group_instance_id: None,
            rack: None,
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            max_poll_interval: Duration::from_secs(300),
            assignors: vec![Assignor::Range, Assignor::CooperativeSticky],
            remote_assignor: None,
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
        if self.rack.as_ref().is_some_and(|rack| rack.is_empty()) {
            return Err(Error::config("client.rack", "not empty"));
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
        self.check_protocol()
    }

    /// What the other protocol's settings would promise is not kept.
    fn check_protocol(&self) -> Result<()> {
        const CLASSIC_ONLY: &str = "left alone with the consumer protocol, where the broker says";
        let default = Self::new(self.group_id.clone());
        if self.protocol == GroupProtocol::Classic {
            return match self.remote_assignor {
                Some(_) => {
                    Err(Error::config("group.remote.assignor", "left alone with the classic protocol"))
                }
                None => Ok(()),
            };
        }
        if self.session_timeout != default.session_timeout {
            return Err(Error::config("session.timeout.ms", CLASSIC_ONLY));
        }
        if self.heartbeat_interval != default.heartbeat_interval {
            return Err(Error::config("heartbeat.interval.ms", CLASSIC_ONLY));
        }
        if self.assignors != default.assignors {
            return Err(Error::config("partition.assignment.strategy", CLASSIC_ONLY));
        }
        if self.remote_assignor.as_ref().is_some_and(|name| name.is_empty()) {
            return Err(Error::config("group.remote.assignor", "not empty"));
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
    fn what_belongs_to_the_other_protocol_is_refused() {
        let refused = |protocol, change: &dyn Fn(&mut GroupConfig)| {
            let mut config = GroupConfig { protocol, ..GroupConfig::new("g") };
            change(&mut config);
            match config.check() {
                Err(Error::Config { option, .. }) => Some(option),
                _ => None,
            }
        };
        let (classic, consumer) = (GroupProtocol::Classic, GroupProtocol::Consumer);
        type Change<'a> = (&'static str, &'a dyn Fn(&mut GroupConfig));
        let changes: [Change<'_>; 3] = [
            ("session.timeout.ms", &|config| config.session_timeout = Duration::from_secs(9)),
            ("heartbeat.interval.ms", &|config| config.heartbeat_interval = Duration::from_secs(1)),
            ("partition.assignment.strategy", &|config| config.assignors = vec![Assignor::RoundRobin]),
        ];
        for (option, change) in changes {
            assert_eq!(refused(consumer, change), Some(option));
            assert_eq!(refused(classic, change), None);
        }
        let assignor: &dyn Fn(&mut GroupConfig) = &|config| config.remote_assignor = Some("range".into());
        assert_eq!(refused(classic, assignor), Some("group.remote.assignor"));
        assert_eq!(refused(consumer, assignor), None);
        assert_eq!(refused(consumer, &|_| ()), None);
    }

    #[test]
    fn one_eager_assignor_makes_the_member_eager() {
        let mut config = GroupConfig::new("g");
        assert!(!config.is_cooperative());
        config.assignors = vec![Assignor::CooperativeSticky];
        assert!(config.is_cooperative());
    }
}
