//! What transactions there are (`TransactionStateManager.listTransactionStates`,
//! `TransactionCoordinator.handleDescribeTransactions`).

use regex_lite::{Regex, RegexBuilder};

use super::coordinator::{Coordinator, Entry};
use super::ids::TransactionalId;
use super::state::State;
use super::words::{DescribedTransaction, ListTransactions, ListedTransaction};
use crate::ids::Now;
use crate::refusal::Refusal;

/// How much memory a pattern may take: it comes with a request.
const PATTERN_LIMIT_BYTES: usize = 1 << 20;

impl ListTransactions {
    /// The states asked for that Kafka has no name for.
    pub(crate) fn unknown_states(&self) -> Vec<String> {
        self.states.iter().filter(|name| !State::is_name(name)).cloned().collect()
    }

    /// The pattern, ready to use; none where every id is asked for.
    pub(crate) fn compiled(&self) -> Result<Option<Regex>, Refusal> {
        let Some(pattern) = self.pattern.as_deref().filter(|pattern| !pattern.is_empty()) else {
            return Ok(None);
        };
        let refuse = |why: regex_lite::Error| Refusal::InvalidRegularExpression {
            message: format!("Transaction ID pattern `{pattern}` is not a valid regular expression: {why}."),
        };
        let build = |pattern: &str| RegexBuilder::new(pattern).size_limit(PATTERN_LIMIT_BYTES).build();
        // Alone first: what closes a group of the other's is no expression.
        build(pattern).map_err(refuse)?;
        build(&format!("^(?:{pattern})$")).map_err(refuse).map(Some)
    }
}

impl Coordinator {
    /// The transactions that are asked for. `pattern` is the request's, [compiled](ListTransactions::compiled).
    pub(crate) fn list(
        &self,
        now: Now,
        request: &ListTransactions,
        pattern: Option<&Regex>,
    ) -> Vec<ListedTransaction> {
        let is_asked = |(id, entry): &(&TransactionalId, &Entry)| {
            let current = &entry.current;
            // What has not begun lasts since ever, as in Kafka.
            let lasts_ms = now.wall.since(current.started_at);
            (request.producers.is_empty() || request.producers.contains(&current.producer_id))
                && (request.states.is_empty()
                    || request.states.iter().any(|name| name == current.state.name()))
                && (request.longer_than_ms < 0 || lasts_ms > request.longer_than_ms)
                && pattern.is_none_or(|pattern| pattern.is_match(id.as_str()))
        };
        let listed = |(id, entry): (&TransactionalId, &Entry)| ListedTransaction {
            id: id.clone(),
            producer_id: entry.current.producer_id,
            state: entry.current.state.name(),
        };
        self.entries.iter().filter(is_asked).map(listed).collect()
    }

    /// Where a transaction stands. The id was [checked](TransactionalId::check).
    pub(crate) fn describe(&self, id: &TransactionalId) -> Result<DescribedTransaction, Refusal> {
        let Entry { current, ending, .. } = self.entries.get(id).ok_or(Refusal::TransactionalIdNotFound)?;
        let partitions = match ending {
            Some(ending) => ending.missing().cloned().collect(),
            None => current.partitions.iter().cloned().collect(),
        };
        Ok(DescribedTransaction {
            producer: (current.producer_id, current.epoch),
            state: current.state.name(),
            timeout_ms: current.timeout_ms,
            started_at: current.started_at,
            partitions,
        })
    }
}
