//! What is set of connections, requests and answers.

use super::BrokerConfig;

impl BrokerConfig {
    /// `fetch.max.bytes`.
    pub fn fetch_max_bytes(&self) -> i32 {
        self.int("fetch.max.bytes")
    }

    /// `max.incremental.fetch.session.cache.slots`.
    pub fn fetch_session_slots(&self) -> usize {
        usize::try_from(self.int("max.incremental.fetch.session.cache.slots")).unwrap_or(0)
    }

    /// `max.request.partition.size.limit`.
    pub fn describe_partitions_limit(&self) -> usize {
        usize::try_from(self.int("max.request.partition.size.limit")).unwrap_or(1)
    }

    /// `socket.request.max.bytes`.
    pub fn request_max_bytes(&self) -> usize {
        usize::try_from(self.int("socket.request.max.bytes")).unwrap_or(1)
    }

    /// `max.connections`.
    pub fn max_connections(&self) -> usize {
        usize::try_from(self.int("max.connections")).unwrap_or(0)
    }

    /// `connections.max.idle.ms`; none for ever.
    pub fn max_idle_ms(&self) -> Option<u64> {
        u64::try_from(self.long("connections.max.idle.ms")).ok()
    }

    /// `highwater.connection.max.inflight.requests`.
    pub fn max_inflight_requests(&self) -> usize {
        usize::try_from(self.int("highwater.connection.max.inflight.requests")).unwrap_or(1)
    }

    /// `highwater.connection.queued.bytes`.
    pub fn queued_bytes(&self) -> usize {
        usize::try_from(self.int("highwater.connection.queued.bytes")).unwrap_or(1024)
    }
}
