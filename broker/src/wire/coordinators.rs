//! FindCoordinator on the wire.

use highwater_protocol::Text;
use highwater_protocol::messages::find_coordinator::Coordinator;
use highwater_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};

use super::Addresses;
use super::refusals::code_of;
use crate::ids::NodeId;
use crate::node::{CoordinatorKey, Request};
use crate::refusal::Refusal;

/// From here on one request may name several keys (KIP-699).
const FIRST_WITH_SEVERAL: i16 = 4;
/// From here on a share group's coordinator may be asked for (KIP-932).
const FIRST_WITH_SHARE: i16 = 6;

pub(super) fn request(request: FindCoordinatorRequest, version: i16) -> Request {
    let keys = if version >= FIRST_WITH_SEVERAL { request.coordinator_keys } else { vec![request.key] };
    let one = |key: &Text| CoordinatorKey {
        key: key.as_str().to_owned(),
        kind: request.key_type,
        share_allowed: version >= FIRST_WITH_SHARE,
    };
    Request::FindCoordinator(keys.iter().map(one).collect())
}

pub(super) fn response(
    found: Vec<(String, Result<NodeId, Refusal>)>,
    version: i16,
    addresses: &Addresses,
) -> FindCoordinatorResponse {
    let one = |(key, outcome): (String, Result<NodeId, Refusal>)| {
        let node_id = outcome.as_ref().map_or(-1, |node| node.0);
        let (host, port) = addresses.of(NodeId(node_id));
        let error_code = code_of(&outcome);
        let error_message = Some(match &outcome {
            Err(refusal @ Refusal::InvalidRequest { .. }) => refusal.words(),
            _ => Text::default(),
        });
        Coordinator { key: key.into(), node_id, host, port, error_code, error_message }
    };
    let mut coordinators: Vec<_> = found.into_iter().map(one).collect();
    if version >= FIRST_WITH_SEVERAL {
        return FindCoordinatorResponse { coordinators, ..Default::default() };
    }
    let Coordinator { node_id, host, port, error_code, .. } = coordinators.pop().unwrap_or_default();
    // With one key the words are those of the code, also where all is well.
    let error_message = Some(Text::from_static(error_code.message()));
    FindCoordinatorResponse { error_code, error_message, node_id, host, port, ..Default::default() }
}
