//! Where a node's replies to one connection arrive, from whichever thread stepped the node.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::node::Reply;

/// Takes what a node has for one connection.
pub(crate) trait Recipient: Send + Sync {
    /// The answer to one of its requests.
    fn deliver(&self, request: u64, reply: Reply);
    /// The connection must be closed.
    fn close(&self, why: &str);
}

#[derive(Debug, Default)]
struct Inside {
    replies: VecDeque<(u64, Reply)>,
    closed: bool,
}

/// Replies that wait for their connection's task.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    inside: Mutex<Inside>,
    wake: Notify,
}

impl Mailbox {
    /// Moves all replies out; false when the connection must be closed.
    pub(super) fn take(&self, into: &mut VecDeque<(u64, Reply)>) -> bool {
        let mut inside = self.inside.lock();
        into.append(&mut inside.replies);
        !inside.closed
    }

    /// Until something has come since the last time this returned.
    pub(super) async fn wait(&self) {
        self.wake.notified().await;
    }
}

impl Recipient for Mailbox {
    fn deliver(&self, request: u64, reply: Reply) {
        self.inside.lock().replies.push_back((request, reply));
        self.wake.notify_one();
    }

    fn close(&self, why: &str) {
        tracing::info!(%why, "closing a connection");
        self.inside.lock().closed = true;
        self.wake.notify_one();
    }
}
