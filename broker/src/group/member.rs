//! One member of a classic group.

use bytes::Bytes;

use super::ids::{InstanceId, ProtocolName};
use super::words::{DescribedMember, JoinGroup, Protocol};
use crate::group::ids::MemberId;
use crate::node::Ticket;

/// A member, as it said of itself when it joined last, and what it waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    /// Its name, if it is a static member.
    pub(super) instance: Option<InstanceId>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) session_timeout_ms: i32,
    pub(super) rebalance_timeout_ms: i32,
    /// The one it likes best first.
    pub(super) protocols: Vec<Protocol>,
    pub(super) assignment: Bytes,
    /// Waits for the others to join.
    pub(super) joining: Option<Ticket>,
    /// Waits for its assignment.
    pub(super) syncing: Option<Ticket>,
    /// Waits to join for the first time: it has no name to send heartbeats under, so that its session runs.
    pub(super) is_new: bool,
}

impl Member {
    pub(super) fn new(request: &JoinGroup) -> Self {
        Self {
            instance: request.instance.clone(),
            client_id: request.client_id.clone(),
            client_host: request.client_host.clone(),
            session_timeout_ms: request.session_timeout_ms,
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            protocols: request.protocols.clone(),
            assignment: Bytes::new(),
            joining: None,
            syncing: None,
            is_new: true,
        }
    }

    /// Takes what it says of itself when it joins again. Of one that is in a group the group's roster does so, which counts
    /// what members know.
    pub(super) fn update(&mut self, request: &JoinGroup) {
        self.protocols.clone_from(&request.protocols);
        self.session_timeout_ms = request.session_timeout_ms;
        self.rebalance_timeout_ms = request.rebalance_timeout_ms;
    }

    /// What it says of itself for a protocol; nothing for one it does not know.
    pub(super) fn metadata(&self, protocol: Option<&ProtocolName>) -> Bytes {
        let known = self.protocols.iter().find(|known| Some(&known.name) == protocol);
        known.map(|known| known.metadata.clone()).unwrap_or_default()
    }

    /// Whether it counts as alive without a heartbeat: who waits for an answer sends none.
    pub(super) fn is_waiting(&self) -> bool {
        !self.is_new && (self.joining.is_some() || self.syncing.is_some())
    }

    pub(super) fn describe(&self, id: &MemberId, protocol: Option<&ProtocolName>) -> DescribedMember {
        DescribedMember {
            member: id.clone(),
            instance: self.instance.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            metadata: self.metadata(protocol),
            assignment: self.assignment.clone(),
        }
    }
}
