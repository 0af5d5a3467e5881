//! The leaders' terms, from their checkpoint and from the batches that are walked.

use std::path::Path;

use super::read_if_there;
use crate::{LeaderEpochs, LogError, Offset, batch::BatchHeader, disk::Disk, epochs::CHECKPOINT_NAME};

pub(super) struct Epochs {
    /// From the checkpoint, and later ones from the batches.
    known: LeaderEpochs,
    /// From the batches alone, if all of them are walked: right, but for terms whose first batches compaction removed.
    told: Option<LeaderEpochs>,
    /// The checkpoint says otherwise than the batches: it was not written since the log was truncated.
    contradicted: bool,
    /// What the batches below it say is no matter.
    log_start: Offset,
}

impl Epochs {
    /// Reads the checkpoint; also says what is wrong with it, if it is set aside. `all_walked`: every batch will be
    /// [noted](Self::note).
    pub(super) fn read(
        disk: &dyn Disk,
        dir: &Path,
        all_walked: bool,
        log_start: Offset,
    ) -> Result<(Self, Option<String>), LogError> {
        let parsed = match read_if_there(disk, &dir.join(CHECKPOINT_NAME))? {
            Some(text) => LeaderEpochs::from_checkpoint(&text),
            None => Ok(LeaderEpochs::default()),
        };
        let (known, malformed) = match parsed {
            Ok(known) => (known, None),
            Err(why) => (LeaderEpochs::default(), Some(why)),
        };
        let told = all_walked.then(LeaderEpochs::default);
        Ok((Self { known, told, contradicted: false, log_start }, malformed))
    }

    /// Learns of a batch.
    pub(super) fn note(&mut self, header: &BatchHeader) {
        let (epoch, offset) = (header.leader_epoch, header.base_offset);
        if epoch.is_none() {
            return;
        }
        let is_in_log = header.last_offset() >= self.log_start;
        if let Some(told) = &mut self.told
            && told.latest().is_some_and(|latest| {
                is_in_log && latest.start_offset < self.log_start && latest.epoch > epoch
            })
        {
            // What only batches below the log's start say does not stand against a batch of the log.
            *told = LeaderEpochs::default();
        }
        for epochs in [Some(&mut self.known), self.told.as_mut()].into_iter().flatten() {
            if epochs.latest().is_none_or(|latest| epoch > latest.epoch) {
                epochs.assign(epoch, offset);
            }
        }
        self.contradicted |= !self.agree_with(header);
    }

    /// Whether the terms known say of the batch what it says itself, from its first offset to its last; below the log's
    /// start they say nothing.
    pub(super) fn agree_with(&self, header: &BatchHeader) -> bool {
        let ends = [header.base_offset.max(self.log_start), header.last_offset()];
        header.leader_epoch.is_none()
            || header.last_offset() < self.log_start
            || ends.iter().all(|offset| self.known.epoch_of(*offset) == Some(header.leader_epoch))
    }

    pub(super) fn are_contradicted(&self) -> bool {
        self.contradicted
    }

    /// The terms, now that all is known.
    pub(super) fn concluded(self) -> LeaderEpochs {
        match self.told {
            Some(told) if self.contradicted => told,
            _ => self.known,
        }
    }
}
