//! What is on its way between nodes and the controller: in order on each link, each message with a delay of its own, and
//! lost where the link is cut or one of its ends is gone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::ids::NodeId;
use crate::message::{Message, Peer};

/// From whom to whom.
pub(super) type Link = (Peer, Peer);

#[derive(Debug, Default)]
struct Way {
    /// Each with its number.
    under_way: VecDeque<(u64, Message)>,
    /// When the last of them arrives.
    busy_until: u64,
}

#[derive(Debug, Default)]
pub(super) struct Links {
    ways: BTreeMap<Link, Way>,
    cut: BTreeSet<Link>,
    next: u64,
}

impl Links {
    /// Sends a message that would arrive at `at` if none was before it; gives its number and when it arrives. None where
    /// it is lost.
    pub(super) fn send(&mut self, link: Link, at: u64, message: Message) -> Option<(u64, u64)> {
        if self.cut.contains(&link) {
            return None;
        }
        let way = self.ways.entry(link).or_default();
        let number = self.next;
        self.next += 1;
        way.busy_until = way.busy_until.max(at);
        way.under_way.push_back((number, message));
        Some((number, way.busy_until))
    }

    /// The message of this number, unless it was lost on its way.
    pub(super) fn arrive(&mut self, link: Link, number: u64) -> Option<Message> {
        let way = self.ways.get_mut(&link)?;
        way.under_way.pop_front_if(|(first, _)| *first == number).map(|(_, message)| message)
    }

    /// Cuts a link in one direction: what is under way is lost, and what is sent from now on.
    pub(super) fn cut(&mut self, link: Link) {
        self.lose(link);
        self.cut.insert(link);
    }

    /// All links work again.
    pub(super) fn heal(&mut self) {
        self.cut.clear();
    }

    pub(super) fn are_cut(&self) -> bool {
        !self.cut.is_empty()
    }

    /// A node is gone: nothing reaches it, and what it sent last may not have left.
    pub(super) fn end_of(&mut self, node: NodeId, loses_what_it_sent: bool) {
        let node = Peer::Node(node);
        let links: Vec<_> = self.ways.keys().copied().collect();
        for link in links {
            if link.1 == node || (loses_what_it_sent && link.0 == node) {
                self.lose(link);
            }
        }
    }

    fn lose(&mut self, link: Link) {
        if let Some(way) = self.ways.get_mut(&link) {
            way.under_way.clear();
        }
    }
}
