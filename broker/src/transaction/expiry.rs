//! What is forgotten with time: transactional ids that nobody used
//! (`TransactionStateManager.removeExpiredTransactionalIds`).

use highwater_storage::TimestampMs;

use super::coordinator::{Coordinator, Entry};
use super::ids::TransactionalId;
use super::record::Record;
use super::turn::{Turn, as_coordinator};
use crate::refusal::Refusal;

/// How much of one batch the ids in it may make up.
const BATCH_BYTES: usize = 16 << 10;
/// What a tombstone takes beside its id, at most.
const TOMBSTONE_BYTES: usize = 32;

impl Coordinator {
    /// Forgets the ids that nobody has used for `transactional.id.expiration.ms`: they are gone when that is committed.
    pub(crate) fn forget_old(&mut self, turn: &mut Turn<'_>) -> Result<(), Refusal> {
        let since = turn.now.wall.saturating_add(-turn.limits.id_expiration_ms);
        let old = self.entries.iter().filter(|(_, entry)| is_old(entry, since));
        let old: Vec<_> = old.map(|(id, _)| id.clone()).collect();
        let mut rest = &old[..];
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(batch_of(rest));
            let forgotten = |id: &TransactionalId| Record { id: id.clone(), transaction: None };
            let records: Vec<_> = batch.iter().map(forgotten).collect();
            let base = turn.surroundings.append(&records).map_err(as_coordinator)?;
            for (at, record) in (base.get()..).zip(records) {
                self.note(at.into(), record);
            }
            rest = later;
        }
        Ok(())
    }
}

fn is_old(entry: &Entry, since: TimestampMs) -> bool {
    entry.pending.is_none() && entry.current.state.is_at_rest() && entry.current.updated_at <= since
}

/// How many ids go into the next batch: one at least.
fn batch_of(ids: &[TransactionalId]) -> usize {
    let mut bytes = 0;
    let fits = |id: &&TransactionalId| {
        bytes += id.as_str().len() + TOMBSTONE_BYTES;
        bytes <= BATCH_BYTES
    };
    ids.iter().take_while(fits).count().max(1)
}
