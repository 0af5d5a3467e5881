//! Of each topic, each member gets a run of neighbouring partitions; where it does not come out even, the first members get
//! one more (`RangeAssignor`). Topics with equally many partitions and the same members are thereby divided alike.

use super::{
    GroupAssignment, GroupMember, PartitionCounts, in_kafkas_order, nothing_for_anyone, partitions_of,
};

pub(super) fn assign(partitions: &PartitionCounts, members: &[GroupMember]) -> GroupAssignment {
    let mut assignment = nothing_for_anyone(members);
    let ordered = in_kafkas_order(members);
    for (topic, count) in partitions {
        let readers: Vec<_> = ordered.iter().filter(|member| member.topics.contains(topic)).collect();
        let Some(each) = usize::try_from(*count).ok().and_then(|count| count.checked_div(readers.len()))
        else {
            continue;
        };
        let one_more = usize::try_from(*count).unwrap_or(0) - each * readers.len();
        let mut rest = partitions_of(topic, *count);
        for (place, reader) in readers.into_iter().enumerate() {
            let share = each + usize::from(place < one_more);
            let own = assignment.entry(reader.member_id.clone()).or_default();
            own.extend(rest.by_ref().take(share));
        }
    }
    assignment
}
