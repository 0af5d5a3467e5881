//! What is known of the producers where the checking of batches begins (`ProducerStateManager.truncateAndReload`).

use super::{Place, Reading, Stopped, leftovers::Names, walk::Walk};
use crate::{
    LogError, Offset,
    producers::ProducerState,
    segment::{Segment, file_name},
    snapshot,
};

impl Place<'_> {
    /// After a clean stop: as the snapshot at the log's end has it. Only a log without batches may lack one.
    pub(super) fn producers_at_end(self, reading: &Reading, names: &Names) -> Result<ProducerState, Stopped> {
        let Some(end) = reading.end() else { return Ok(ProducerState::default()) };
        if !names.contains(&file_name(end, "snapshot"))
            && reading.segments.iter().all(|segment| segment.size_bytes == 0)
        {
            return Ok(ProducerState::default());
        }
        snapshot::read_true(self.disk, self.dir, end)?.map(ProducerState::of).ok_or(Stopped::Distrust)
    }

    /// After an unclean stop: from the newest whole snapshot at or below the first segment to be checked, and the batches
    /// from there. One below the log's first segment would lack the batches between.
    pub(super) fn producers_at(
        self,
        checked_base: Option<Offset>,
        reading: &Reading,
        names: &Names,
    ) -> Result<ProducerState, Stopped> {
        let Some(upto) = checked_base else { return Ok(ProducerState::default()) };
        let first = reading.segments.first().map_or(upto, Segment::base_offset);
        let candidates = names.bases("snapshot").into_iter().rev();
        let mut from = first;
        let mut state = ProducerState::default();
        for offset in candidates.filter(|offset| first <= *offset && *offset <= upto) {
            if let Some(table) = snapshot::read_true(self.disk, self.dir, offset)? {
                (from, state) = (offset, ProducerState::of(table));
                break;
            }
        }
        for segment in reading.segments.iter().filter(|segment| segment.next_offset > from) {
            replay(segment, from, &mut state)?;
        }
        Ok(state)
    }

    /// Sees to it that a whole snapshot is at the base of a segment that is about to be checked: once those before it are
    /// gone, nothing else tells of the producers.
    pub(super) fn keep_producers(
        self,
        base: Offset,
        names: &Names,
        reading: &mut Reading,
    ) -> Result<(), LogError> {
        let table = &reading.producers.table;
        let is_missing = !names.contains(&file_name(base, "snapshot"));
        if is_missing && table.is_empty() || snapshot::read_true(self.disk, self.dir, base)?.is_some() {
            return Ok(());
        }
        let path = self.dir.join(file_name(base, "snapshot"));
        self.disk.put(&path, &snapshot::to_bytes(table)).map_err(LogError::io("write", &path))?;
        if base <= self.durable_below {
            // What is durable for good is synced by nobody any more.
            let synced = self.disk.open(&path).and_then(|file| file.sync());
            synced.map_err(LogError::io("sync", &path))?;
            self.disk.sync_dir(self.dir).map_err(LogError::io("sync", &**self.dir))?;
        }
        if is_missing {
            reading.new_snapshots.push(base);
        }
        Ok(())
    }
}

/// Lets the producers learn of a trusted segment's batches from an offset on.
fn replay(segment: &Segment, from: Offset, state: &mut ProducerState) -> Result<(), Stopped> {
    let mut walk = Walk::new(&**segment.file(), segment.position_of(from).at_least, segment.size_bytes);
    loop {
        // Trusted bytes that are no batch: the whole log is checked then.
        let Some(header) = walk.next().map_err(|_| Stopped::Distrust)? else { return Ok(()) };
        if header.base_offset >= from {
            let control = walk.control(&header).map_err(|_| Stopped::Distrust)?;
            state.note(&header, control);
        }
        walk.pass(&header);
    }
}
