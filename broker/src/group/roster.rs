//! The members of a classic group, and which ways of sharing work they have in common (`ClassicGroup.supportedProtocols`).
//!
//! Always: how many members know a protocol is counted as they come, change and go, so that nobody who joins has to look at
//! what all the others know.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use super::ids::{MemberId, ProtocolName};
use super::member::Member;
use super::words::JoinGroup;

/// See the [module](self). Reads like the map it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Roster {
    members: BTreeMap<MemberId, Member>,
    /// How many know each protocol; none of them zero.
    known: BTreeMap<ProtocolName, usize>,
}

impl Deref for Roster {
    type Target = BTreeMap<MemberId, Member>;

    fn deref(&self) -> &Self::Target {
        &self.members
    }
}

impl FromIterator<(MemberId, Member)> for Roster {
    fn from_iter<I: IntoIterator<Item = (MemberId, Member)>>(members: I) -> Self {
        let mut roster = Self::default();
        members.into_iter().for_each(|(id, member)| roster.insert(id, member));
        roster
    }
}

impl Roster {
    pub(super) fn insert(&mut self, id: MemberId, member: Member) {
        self.remove(&id);
        for name in names(&member) {
            match self.known.get_mut(name) {
                Some(count) => *count += 1,
                None => drop(self.known.insert(name.clone(), 1)),
            }
        }
        self.members.insert(id, member);
    }

    pub(super) fn remove(&mut self, id: &MemberId) -> Option<Member> {
        let member = self.members.remove(id)?;
        for name in names(&member) {
            let left = self.known.get_mut(name).map(|count| {
                *count -= 1;
                *count
            });
            if left == Some(0) {
                self.known.remove(name);
            }
        }
        Some(member)
    }

    /// Takes what a member says of itself when it joins again.
    pub(super) fn update(&mut self, id: &MemberId, request: &JoinGroup) {
        if let Some(mut member) = self.remove(id) {
            member.update(request);
            self.insert(id.clone(), member);
        }
    }

    /// A member, to change what it waits for or has. What it knows changes by [`update`](Self::update).
    pub(super) fn get_mut(&mut self, id: &MemberId) -> Option<&mut Member> {
        self.members.get_mut(id)
    }

    /// The same for all of them.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&MemberId, &mut Member)> {
        self.members.iter_mut()
    }

    /// Whether there is no member who does not know a protocol.
    pub(super) fn all_know(&self, protocol: &ProtocolName) -> bool {
        self.known.get(protocol).copied().unwrap_or(0) == self.members.len()
    }

    /// The protocol with the most votes: each member's is for the first that everyone knows.
    pub(super) fn choose_protocol(&self) -> Option<ProtocolName> {
        let first = self.members.values().next()?;
        let candidates = || known_by(first).filter(|name| self.all_know(name));
        let mut votes: BTreeMap<_, _> = candidates().map(|name| (name, 0_usize)).collect();
        for member in self.members.values() {
            let liked = known_by(member).find_map(|name| votes.get_key_value(name).map(|(name, _)| *name));
            if let Some(votes) = liked.and_then(|name| votes.get_mut(name)) {
                *votes += 1;
            }
        }
        // Of as many votes, what the first member likes best.
        let candidates: Vec<_> = candidates().collect();
        candidates.into_iter().rev().max_by_key(|name| votes.get(name)).cloned()
    }
}

/// What a member knows, what it likes best first.
fn known_by(member: &Member) -> impl Iterator<Item = &ProtocolName> {
    member.protocols.iter().map(|known| &known.name)
}

/// The same, each once.
fn names(member: &Member) -> BTreeSet<&ProtocolName> {
    known_by(member).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::group::words::Protocol;

    /// A member comes or changes, or goes.
    type Step = (u8, Option<Vec<u8>>);

    fn name(protocol: u8) -> ProtocolName {
        ProtocolName::from(format!("p{protocol}").as_str())
    }

    fn joins(protocols: &[u8]) -> JoinGroup {
        let protocol = |protocol: &u8| Protocol { name: name(*protocol), metadata: Bytes::new() };
        JoinGroup {
            group: "g".into(),
            member: "".into(),
            instance: None,
            client_id: String::new(),
            client_host: String::new(),
            session_timeout_ms: 1,
            rebalance_timeout_ms: 1,
            protocol_type: "consumer".into(),
            protocols: protocols.iter().map(protocol).collect(),
            asks_twice: false,
            may_skip_assignment: true,
        }
    }

    /// By the definition: everyone is asked about everything.
    fn chosen(members: &BTreeMap<u8, Vec<u8>>) -> Option<ProtocolName> {
        let all_know = |protocol: &&u8| members.values().all(|known| known.contains(protocol));
        let first = members.values().next()?;
        let votes = |protocol: &u8| {
            members.values().filter(|known| known.iter().find(all_know) == Some(protocol)).count()
        };
        let most = first.iter().filter(all_know).map(votes).max()?;
        first.iter().filter(all_know).find(|protocol| votes(protocol) == most).map(|best| name(*best))
    }

    proptest! {
        #[test]
        fn the_protocol_is_what_most_like_of_what_all_know(
            steps in prop::collection::vec((0_u8..5, prop::option::weighted(0.8, prop::collection::vec(0_u8..4, 1..6))), 1..30)
        ) {
            let (mut roster, mut model) = (Roster::default(), BTreeMap::new());
            for (member, knows) in &steps as &Vec<Step> {
                let id = MemberId::from(format!("m{member}").as_str());
                match knows {
                    None => {
                        prop_assert_eq!(roster.remove(&id).is_some(), model.remove(member).is_some());
                    }
                    Some(knows) if roster.contains_key(&id) => {
                        roster.update(&id, &joins(knows));
                        model.insert(*member, knows.clone());
                    }
                    Some(knows) => {
                        roster.insert(id, Member::new(&joins(knows)));
                        model.insert(*member, knows.clone());
                    }
                }
                for protocol in 0..5 {
                    let all = model.values().all(|known: &Vec<u8>| known.contains(&protocol));
                    prop_assert_eq!(roster.all_know(&name(protocol)), all);
                }
                prop_assert_eq!(roster.choose_protocol(), chosen(&model));
            }
        }
    }
}
