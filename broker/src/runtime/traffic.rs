//! What goes through a node's connections, counted.

use std::sync::atomic::{AtomicU64, Ordering};

use highwater_protocol::ApiKey;

use crate::wire::Incoming;

/// Counts since the node began. Each is for itself: nothing follows from one about another.
pub(crate) struct Traffic {
    /// Requests for the node, by the place of their API in [`ApiKey::ALL`].
    requests: [AtomicU64; ApiKey::ALL.len()],
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            requests: [const { AtomicU64::new(0) }; ApiKey::ALL.len()],
            received_bytes: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
        }
    }
}

impl Traffic {
    /// Counts a request, if it is one for the node.
    pub(crate) fn request(&self, incoming: &Incoming) {
        let Incoming::Request(call, _) = incoming else { return };
        // Keys stand in the order of their numbers.
        if let Ok(place) = ApiKey::ALL.binary_search(&call.api()) {
            self.requests[place].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.received_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// How many requests there were of each API that was asked for at all, by Kafka's name of it.
    pub(crate) fn requests(&self) -> Vec<(&'static str, u64)> {
        let counts = self.requests.iter().map(|count| count.load(Ordering::Relaxed));
        let named = ApiKey::ALL.iter().map(|api| api.name()).zip(counts);
        named.filter(|(_, count)| *count > 0).collect()
    }

    pub(crate) fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::Relaxed)
    }
}
