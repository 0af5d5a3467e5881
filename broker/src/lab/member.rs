//! A node through its lives, and its disk through all of them.

use std::collections::VecDeque;
use std::sync::Arc;

use highwater_storage::disk::{MemoryDisk, PowerDisk};

use crate::ids::NodeId;
use crate::node::{Event, Node};
use crate::wire::TopicRules;

#[derive(Debug)]
pub(super) enum Now {
    Dead,
    Runs(Box<Node>),
    /// It does nothing; what comes to it waits.
    Paused(Box<Node>, VecDeque<Event>),
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: NodeId,
    pub(super) power: PowerDisk,
    pub(super) now: Now,
    /// What its present life says of batches.
    pub(super) rules: TopicRules,
    lives: u64,
    deadline: Option<u64>,
    /// Until when its disk is at what is urgent.
    pub(super) busy_until: u64,
    /// It wants to stop, and waits to be let.
    pub(super) is_stopping: bool,
}

impl Member {
    pub(super) fn new(id: NodeId) -> Self {
        Self {
            id,
            power: PowerDisk::new(Arc::new(MemoryDisk::new())),
            now: Now::Dead,
            rules: TopicRules::default(),
            lives: 0,
            deadline: None,
            busy_until: 0,
            is_stopping: false,
        }
    }

    /// The present life.
    pub(super) fn life(&self) -> Option<u64> {
        (!matches!(self.now, Now::Dead)).then_some(self.lives)
    }

    pub(super) fn begin(&mut self, node: Node) -> u64 {
        self.lives += 1;
        self.rules = TopicRules::default();
        self.now = Now::Runs(Box::new(node));
        self.is_stopping = false;
        self.lives
    }

    /// Ends the present life; gives what is left of it.
    pub(super) fn end(&mut self) -> Option<Node> {
        self.deadline = None;
        match std::mem::replace(&mut self.now, Now::Dead) {
            Now::Dead => None,
            Now::Runs(node) | Now::Paused(node, _) => Some(*node),
        }
    }

    pub(super) fn pause(&mut self) {
        self.now = match std::mem::replace(&mut self.now, Now::Dead) {
            Now::Runs(node) => Now::Paused(node, VecDeque::new()),
            other => other,
        };
    }

    /// Gives what waited.
    pub(super) fn resume(&mut self) -> VecDeque<Event> {
        match std::mem::replace(&mut self.now, Now::Dead) {
            Now::Paused(node, inbox) => {
                self.now = Now::Runs(node);
                inbox
            }
            other => {
                self.now = other;
                VecDeque::new()
            }
        }
    }

    pub(super) fn runs(&self) -> bool {
        matches!(self.now, Now::Runs(_))
    }

    pub(super) fn node(&self) -> Option<&Node> {
        match &self.now {
            Now::Dead => None,
            Now::Runs(node) | Now::Paused(node, _) => Some(node),
        }
    }

    pub(super) fn node_mut(&mut self) -> Option<&mut Node> {
        match &mut self.now {
            Now::Dead => None,
            Now::Runs(node) | Now::Paused(node, _) => Some(node),
        }
    }

    /// When it is to be stepped even if nothing happens.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.deadline.filter(|_| self.runs())
    }

    pub(super) fn set_deadline(&mut self) {
        self.deadline = self.node().and_then(Node::next_deadline).map(|at| at.micros());
    }
}
