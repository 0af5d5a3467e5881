//! Producer ids: handed out one by one from blocks that the cluster's log reserves, so that no id is given twice, also
//! after a crash; the rest of a block that was begun is then skipped (`RPCProducerIdManager`).

use highwater_storage::ProducerId;

/// How many ids one record of the cluster's log reserves.
pub(crate) const BLOCK_IDS: i64 = 1000;

/// What is left of the block in use.
#[derive(Debug, Default)]
pub(crate) struct IdBlock {
    next: i64,
    end: i64,
}

impl IdBlock {
    /// The next id; none when a block must be reserved first.
    pub(crate) fn take(&mut self) -> Option<ProducerId> {
        let id = (self.next < self.end).then_some(ProducerId::new(self.next))?;
        self.next += 1;
        Some(id)
    }

    /// Whether a block must be reserved first.
    pub(crate) fn is_empty(&self) -> bool {
        self.next >= self.end
    }

    /// Begins the block that was reserved from `first` on.
    pub(crate) fn begin(&mut self, first: i64) {
        self.next = first;
        self.end = first + BLOCK_IDS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_in_order_and_a_block_ends() {
        let mut block = IdBlock::default();
        assert_eq!(block.take(), None);
        block.begin(3000);
        let ids: Vec<_> = std::iter::from_fn(|| block.take()).collect();
        assert_eq!(ids.len(), 1000);
        assert_eq!((ids[0], ids[999]), (ProducerId::new(3000), ProducerId::new(3999)));
    }
}
