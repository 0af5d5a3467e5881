//! The settings of a log.

/// A topic's settings, as far as its logs need them, with Kafka's defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// `segment.bytes`: how large a segment may become; at most 2^31-1.
    pub segment_bytes: usize,
    /// `segment.ms`: the span of time a segment may cover.
    pub segment_ms: i64,
    /// By how much this log rolls earlier than `segment.ms`, so that not all do at once (`segment.jitter.ms` bounds it).
    pub segment_jitter_ms: i64,
    /// `index.interval.bytes`: about how much log an index entry stands for.
    pub index_interval_bytes: usize,
    /// `segment.index.bytes`: how large an index may become; a full one rolls the segment.
    pub segment_index_bytes: usize,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 60 * 60 * 1000,
            segment_jitter_ms: 0,
            index_interval_bytes: 4096,
            segment_index_bytes: 10 << 20,
        }
    }
}
