//! Several members in a simulated group: whatever happens to them, no partition is read by two, what was committed never
//! goes back, and when it is over everything has been read.

mod coordinator;
mod native;
mod world;

use proptest::prelude::*;

use self::world::{Event, World};
use crate::group::Assignor;

/// None of their own in the consumer protocol.
fn assignor() -> impl Strategy<Value = Option<Vec<Assignor>>> {
    prop_oneof![
        1 => Just(Some(vec![Assignor::Range])),
        1 => Just(Some(vec![Assignor::RoundRobin])),
        1 => Just(Some(vec![Assignor::CooperativeSticky])),
        1 => Just(Some(vec![Assignor::Range, Assignor::CooperativeSticky])),
        3 => Just(None),
    ]
}

/// What members do of their own will.
fn orderly() -> BoxedStrategy<Event> {
    prop_oneof![
        2 => Just(Event::Start),
        2 => any::<prop::sample::Index>().prop_map(Event::Close),
        2 => (0..7_usize, 1..6_i64).prop_map(|(partition, records)| Event::Produce { partition, records }),
        1 => Just(Event::Grow),
        2 => (any::<prop::sample::Index>(), 1..40_u32).prop_map(|(member, ticks)| Event::Work(member, ticks)),
        4 => (1..40_u32).prop_map(Event::Pass),
    ]
    .boxed()
}

/// And what befalls them.
fn trouble() -> BoxedStrategy<Event> {
    prop_oneof![
        3 => orderly(),
        1 => any::<prop::sample::Index>().prop_map(Event::Kill),
        1 => any::<prop::sample::Index>().prop_map(Event::Stall),
        1 => Just(Event::Resume),
        1 => (any::<prop::sample::Index>(), any::<bool>()).prop_map(|(member, done)| Event::Lose { member, done }),
        1 => (1..30_u32).prop_map(Event::MoveCoordinator),
    ]
    .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn through_all_trouble_nobody_reads_what_another_has_and_nothing_is_missed(
        assignors in assignor(),
        auto_commit in any::<bool>(),
        events in prop::collection::vec(trouble(), 1..25),
    ) {
        let mut world = World::new(assignors, auto_commit);
        for event in &events {
            world.happen(event);
        }
        world.come_to_rest();
        world.check_nothing_missed();
    }

    #[test]
    fn when_all_members_behave_each_record_is_read_once(
        assignors in assignor(),
        auto_commit in any::<bool>(),
        events in prop::collection::vec(orderly(), 1..25),
    ) {
        let mut world = World::new(assignors, auto_commit);
        for event in &events {
            world.happen(event);
        }
        world.come_to_rest();
        world.check_nothing_missed();
        world.check_nothing_twice();
    }
}
