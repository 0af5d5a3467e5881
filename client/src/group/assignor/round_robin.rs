//! All partitions of all topics, in order, are dealt to the members in turn, passing over those that do not subscribe
//! (`RoundRobinAssignor`).

use super::{GroupAssignment, GroupMember, GroupTopics, in_kafkas_order, nothing_for_anyone, partitions_of};

pub(super) fn assign(topics: &GroupTopics, members: &[GroupMember]) -> GroupAssignment {
    let mut assignment = nothing_for_anyone(members);
    let ordered = in_kafkas_order(members);
    let mut turn = 0;
    for (topic, facts) in topics {
        if !ordered.iter().any(|member| member.topics.contains(topic)) {
            continue;
        }
        for at in partitions_of(topic, facts.partitions) {
            while !ordered[turn].topics.contains(topic) {
                turn = (turn + 1) % ordered.len();
            }
            assignment.entry(ordered[turn].member_id.clone()).or_default().insert(at);
            turn = (turn + 1) % ordered.len();
        }
    }
    assignment
}
