//! What is looked at from time to time: partitions that others would better lead, and those that nobody leads
//! (`PeriodicTaskControlManager`).

use super::Controller;
use crate::cluster::controller::Decided;
use crate::ids::{Monotonic, Now};
use crate::refusal::Refusal;

/// When what is looked at next.
#[derive(Debug, Default)]
pub(super) struct Background {
    rebalance: Option<Monotonic>,
    unclean: Option<Monotonic>,
}

impl Background {
    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        [self.rebalance, self.unclean].into_iter().flatten().min()
    }
}

fn is_due(at: Option<Monotonic>, now: Now) -> bool {
    at.is_some_and(|at| at <= now.monotonic)
}

impl Controller {
    /// Looks at what is due. What is left over is looked at with the next step.
    pub(super) fn look_after(&mut self, now: Now) {
        if !self.has_others() {
            return;
        }
        let config = self.config_of_all();
        let rebalances = config.rebalances_leaders().then(|| config.rebalance_check_micros());
        if is_due(self.background.rebalance, now) && rebalances.is_some() {
            let (decided, more) = self.decide(&config, |decisions| decisions.rebalance_leaders());
            self.elected_in_background(now, decided);
            self.background.rebalance = more.then_some(now.monotonic);
        }
        let after = |micros| now.monotonic.plus_micros(micros);
        self.background.rebalance = rebalances.map(|micros| {
            self.background.rebalance.filter(|at| *at >= now.monotonic).unwrap_or(after(micros))
        });
        if is_due(self.background.unclean, now) {
            let (decided, more) = self.decide(&config, |decisions| decisions.elect_uncleanly());
            self.elected_in_background(now, decided);
            self.background.unclean = more.then_some(now.monotonic);
        }
        let unclean = self.background.unclean.filter(|at| *at >= now.monotonic);
        self.background.unclean = Some(unclean.unwrap_or(after(config.unclean_election_micros())));
    }

    fn elected_in_background(&mut self, now: Now, decided: Decided) {
        let outcome: Result<(), Refusal> = self.commit_decided(now, decided);
        if let Err(why) = outcome {
            tracing::error!(%why, "leaders cannot be elected");
        }
    }
}
