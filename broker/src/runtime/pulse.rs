//! The pulse of nodes: that they live is known although they say nothing.
//!
//! A node says in its steps that it is there. A step may take long (a thousand logs are born), and while it lasts those who
//! wait for it keep the other threads. So a thread that waits for no node tells the controller who lives, as
//! `BrokerLifecycleManager` has one in Kafka. Who is paused, cut off from the controller or dead has no pulse.

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use super::links::Links;
use crate::message::Peer;

/// Goes on until it is dropped.
pub(crate) struct Pulse {
    _ends: mpsc::Sender<()>,
}

impl Pulse {
    /// Begins to tell the controller every so often.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(crate) fn begin(links: Arc<Links>, every: Duration) -> std::io::Result<Self> {
        let (ends, ended) = mpsc::channel::<()>();
        let name = "highwater-pulse".to_owned();
        thread::Builder::new().name(name).spawn(move || {
            while ended.recv_timeout(every) == Err(mpsc::RecvTimeoutError::Timeout) {
                beat(&links);
            }
        })?;
        Ok(Self { _ends: ends })
    }
}

/// Tells the controller who lives.
pub(crate) fn beat(links: &Links) {
    let Some(controller) = links.controller() else { return };
    for id in links.ids().filter(|id| !links.is_cut(Peer::Node(*id), Peer::Controller)) {
        if let Some(node) = links.node(id)
            && node.has_pulse()
        {
            controller.lives(id, node.life());
        }
    }
}
