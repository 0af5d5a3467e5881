//! The links of a cluster: how messages get from one end to the other, at once and without another thread.
//!
//! Who steps a node puts what it has to say into the inboxes of others while the node is still locked, so that every
//! link keeps its order, and works these inboxes off when the lock is free again. One thread works an inbox off at a time;
//! what others put there meanwhile it does, too. No lock is held while another one's step is waited for.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};

use super::controller_shell::ControllerShell;
use super::node_shell::NodeShell;
use crate::ids::NodeId;
use crate::message::{Message, Peer};
use crate::node::Event;

/// What has come for one end and was not looked at yet. Its length is bounded by what the protocol leaves unanswered: a
/// fetch and its answer a pair of nodes, one batch of metadata, the changes that clients wait for, and what is asked about
/// each of the transactions that clients have under way.
#[derive(Default)]
pub(super) struct Inbox {
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    messages: VecDeque<(Peer, Message)>,
    is_worked_off: bool,
    /// Nothing is taken out while this is so.
    is_held: bool,
}

/// The right to work an inbox off.
pub(super) struct Working<'a>(&'a Inbox);

impl Inbox {
    fn put(&self, from: Peer, message: Message) {
        self.inside.lock().messages.push_back((from, message));
    }

    /// None if somebody else is at it, who does what is there now as well.
    pub(super) fn work_off(&self) -> Option<Working<'_>> {
        let mut inside = self.inside.lock();
        if inside.is_worked_off || inside.is_held || inside.messages.is_empty() {
            return None;
        }
        inside.is_worked_off = true;
        Some(Working(self))
    }

    /// Keeps everything back, or no longer.
    pub(super) fn hold(&self, is_held: bool) {
        self.inside.lock().is_held = is_held;
    }

    /// Throws away what is there.
    pub(super) fn clear(&self) {
        self.inside.lock().messages.clear();
    }
}

impl Working<'_> {
    /// The next message. After none the inbox is free for others.
    pub(super) fn next(&self) -> Option<(Peer, Message)> {
        let mut inside = self.0.inside.lock();
        let next = if inside.is_held { None } else { inside.messages.pop_front() };
        inside.is_worked_off = next.is_some();
        next
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        // Nothing is left to do but after a panic.
        if std::thread::panicking() {
            self.0.inside.lock().is_worked_off = false;
        }
    }
}

/// Who there is to be written to.
pub(crate) struct Links {
    controller: RwLock<Weak<ControllerShell>>,
    nodes: Vec<(NodeId, RwLock<Weak<NodeShell>>)>,
    /// Pairs between which nothing gets through, the smaller end first; and whether there are any.
    cut: Mutex<BTreeSet<(Peer, Peer)>>,
    are_any_cut: AtomicBool,
}

/// Ends whose inboxes are to be worked off.
pub(super) type Touched = VecDeque<Peer>;

impl Links {
    /// Between a controller and these nodes, none of which is there yet.
    pub(crate) fn new(nodes: impl IntoIterator<Item = NodeId>) -> Arc<Self> {
        let nodes = nodes.into_iter().map(|id| (id, RwLock::default())).collect();
        Arc::new(Self {
            controller: RwLock::default(),
            nodes,
            cut: Mutex::default(),
            are_any_cut: AtomicBool::new(false),
        })
    }

    /// All nodes, alive or not.
    pub(super) fn ids(&self) -> impl Iterator<Item = NodeId> {
        self.nodes.iter().map(|(id, _)| *id)
    }

    pub(super) fn set_controller(&self, controller: Weak<ControllerShell>) {
        *self.controller.write() = controller;
    }

    /// A node begins a life; links lead to it from now on.
    pub(super) fn set_node(&self, id: NodeId, shell: Weak<NodeShell>) {
        if let Some((_, place)) = self.nodes.iter().find(|(node, _)| *node == id) {
            *place.write() = shell;
        }
    }

    pub(super) fn controller(&self) -> Option<Arc<ControllerShell>> {
        self.controller.read().upgrade()
    }

    /// The node as it lives now.
    pub(crate) fn node(&self, id: NodeId) -> Option<Arc<NodeShell>> {
        self.nodes.iter().find(|(node, _)| *node == id)?.1.read().upgrade()
    }

    /// Lets nothing through between two ends from here on: what they tell each other is lost.
    pub(crate) fn cut(&self, one: Peer, other: Peer) {
        let mut cut = self.cut.lock();
        cut.insert((one.min(other), one.max(other)));
        self.are_any_cut.store(true, Ordering::Release);
    }

    /// Lets messages through again. Both hear that there is a connection, as who opens one after another broke.
    pub(crate) fn heal(&self, one: Peer, other: Peer) {
        {
            let mut cut = self.cut.lock();
            if !cut.remove(&(one.min(other), one.max(other))) {
                return;
            }
            self.are_any_cut.store(!cut.is_empty(), Ordering::Release);
        }
        for (end, from) in [(one, other), (other, one)] {
            if let Peer::Node(id) = end
                && let Some(node) = self.node(id)
            {
                node.bring(Event::Reconnected(from));
            }
        }
    }

    /// A node lives, and links lead to it: the others hear that there is a connection. What they said to this life before,
    /// as the controller told them of it, is lost.
    pub(super) fn connected(&self, id: NodeId) {
        let peer = Peer::Node(id);
        for other in self.ids().filter(|other| *other != id && !self.is_cut(peer, Peer::Node(*other))) {
            if let Some(node) = self.node(other) {
                node.bring(Event::Reconnected(peer));
            }
        }
    }

    /// Whether nothing gets through between two ends.
    pub(crate) fn is_cut(&self, one: Peer, other: Peer) -> bool {
        self.are_any_cut.load(Ordering::Acquire)
            && self.cut.lock().contains(&(one.min(other), one.max(other)))
    }

    /// Puts a message where it goes, if anybody is there.
    pub(super) fn put(&self, from: Peer, to: Peer, message: Message, touched: &mut Touched) {
        if self.is_cut(from, to) {
            return;
        }
        match to {
            Peer::Controller => {
                let Some(controller) = self.controller() else { return };
                controller.inbox().put(from, message);
            }
            Peer::Node(id) => {
                let Some(node) = self.node(id) else { return };
                node.inbox().put(from, message);
            }
        }
        touched.push_back(to);
    }

    /// Works off what was put, and what follows from it. Not to be called while a node or the controller is locked.
    pub(super) fn settle(&self, mut touched: Touched) {
        while let Some(peer) = touched.pop_front() {
            match peer {
                Peer::Controller => {
                    if let Some(controller) = self.controller() {
                        controller.work_off(&mut touched);
                    }
                }
                Peer::Node(id) => {
                    if let Some(node) = self.node(id) {
                        node.work_off(&mut touched);
                    }
                }
            }
        }
    }
}
