//! What a fetch reads, decided from memory and carried out elsewhere.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    LogError, Offset,
    disk::File,
    scan::{Access, Scan},
    segment::{Position, Segment, SegmentName},
};

/// A stretch of one segment, from the batch that contains an offset up to a bound. Made by [`Log::range`] without a look
/// at the disk; [`read`](Self::read) brings the bytes and may block, so it is called outside whatever guards the log. It
/// stays readable when the log rolls or the segment is deleted.
///
/// [`Log::range`]: crate::Log::range
#[derive(Debug, Clone)]
pub struct LogRange {
    /// `None`: there is nothing to read.
    source: Option<Source>,
}

#[derive(Debug, Clone)]
struct Source {
    file: Arc<dyn File>,
    name: SegmentName,
    from: Offset,
    start: Position,
    bound: Offset,
    end: Position,
    max_bytes: usize,
    at_least_one: bool,
}

impl LogRange {
    pub(crate) const EMPTY: Self = Self { source: None };

    pub(crate) fn new(
        segment: &Segment,
        from: Offset,
        bound: Offset,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Self {
        let source = Source {
            file: Arc::clone(segment.file()),
            name: segment.name.clone(),
            from,
            start: segment.position_of(from),
            bound,
            end: segment.position_of(bound),
            max_bytes,
            at_least_one,
        };
        Self { source: Some(source) }
    }

    /// Whether memory alone tells that there is nothing to read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.source.as_ref().is_none_or(|source| source.end.at_most <= source.start.at_least)
    }

    /// The same range under another limit: what a fetch of several partitions has left for this one is known only when
    /// those before it have been read.
    #[must_use]
    pub fn limited(mut self, max_bytes: usize, at_least_one: bool) -> Self {
        if let Some(source) = &mut self.source {
            source.max_bytes = max_bytes;
            source.at_least_one = at_least_one;
        }
        self
    }

    /// The bytes: whole batches, the last of which may be cut where the limit was reached. Empty if the first batch
    /// does not fit the limit (unless at least one was asked for) or reaches the bound.
    ///
    /// # Errors
    /// The disk's; [`LogError::Corrupt`] if the file is damaged.
    pub fn read(&self) -> Result<Bytes, LogError> {
        self.source.as_ref().map_or(Ok(Bytes::new()), Source::read)
    }
}

impl Source {
    fn read(&self) -> Result<Bytes, LogError> {
        let start = self.start.resolve(&*self.file, &self.name, self.from)?;
        let end = self.end.resolve(&*self.file, &self.name, self.bound)?;
        let Ok(available) = usize::try_from(end.saturating_sub(start)) else { return Ok(Bytes::new()) };
        let mut len = available.min(self.max_bytes);
        if len < available {
            let mut scan = Scan::new(&*self.file, Access::Slice, start, end);
            let first = scan
                .next()
                .map_err(|error| self.name.scan_failed(error))?
                .map_or(0, |found| found.header.size_bytes());
            if len < first {
                len = if self.at_least_one { first } else { 0 };
            }
        }
        if len == 0 {
            return Ok(Bytes::new());
        }
        self.file.slice(start, len).map_err(|source| self.name.failed("read", source))
    }
}
