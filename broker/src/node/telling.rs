//! What nodes tell each other about transactions: over a link, or, where a node has something to tell itself, in the same
//! step and in the same order.

use std::collections::VecDeque;

use super::{Effect, Effects, Node};
use crate::ids::{NodeId, Now};
use crate::message::{Message, Peer, Word};

/// What the node has to tell itself.
pub(super) type OwnWords = VecDeque<Word>;

impl Node {
    /// From here on, or no longer, what the node tells itself goes over a link, too: somebody looks at it there.
    pub(crate) fn tells_itself_over_links(&mut self, does: bool) {
        self.tells_itself_over_links = does;
    }

    /// Tells a node something; this one hears it before its step ends ([`Node::hear_own_words`]).
    pub(super) fn tell_node(&mut self, to: NodeId, word: Word, effects: &mut Effects) {
        match to == self.id && !self.tells_itself_over_links {
            true => self.own_words.push_back(word),
            false => effects.push(Effect::Send(Peer::Node(to), Message(word))),
        }
    }

    /// Hears what it told itself. What is heard may be answered in the same way; each transaction has an end, and so has
    /// this.
    pub(super) fn hear_own_words(&mut self, now: Now, effects: &mut Effects) {
        while let Some(word) = self.own_words.pop_front() {
            self.hear_node(now, self.id, word, effects);
        }
    }
}
