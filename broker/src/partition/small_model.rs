//! Every interleaving of a few events on three replicas: the real machines over logs that are lists, and a controller that
//! elects only who is in sync. Two states that behave alike are one, and so are the two followers while nothing tells them
//! apart. From the beginning six events go wherever they can; more are reached from where a few have led already.

mod world;

use std::collections::BTreeSet;

use world::{Deaf, Event, World};

/// Of the states one in so many is looked at for whether all comes to be well again.
const HEALED_ONE_IN: u64 = 32;

/// Visits every state that `steps` events lead to, and checks what must hold in each. Tells how many there are. `hears` is
/// whether all nodes hear at once what the controller decides.
fn explore(start: World, steps: usize, hears: bool) -> usize {
    let mut visited = BTreeSet::from([start.fingerprint()]);
    let mut level = vec![(start, Vec::new())];
    for _ in 0..steps {
        let mut next = Vec::new();
        for (world, path) in level {
            for event in world.possible(hears) {
                let mut after = world.clone();
                if !after.happens(event) {
                    continue;
                }
                let fingerprint = after.fingerprint();
                if !visited.insert(fingerprint) {
                    continue;
                }
                let mut path = path.clone();
                path.push(event);
                let mut holds = after.check();
                if holds.is_ok() && fingerprint.is_multiple_of(HEALED_ONE_IN) {
                    holds = after.heals();
                }
                holds.unwrap_or_else(|broken| panic!("{broken}\nafter {path:?}\n{after:#?}"));
                next.push((after, path));
            }
        }
        level = next;
    }
    visited.len()
}

/// What happens one after the other, each event possible.
fn after(min_in_sync: usize, events: &[Event]) -> World {
    let mut world = World::new(min_in_sync);
    for event in events {
        assert!(world.happens(*event), "{event:?} cannot happen in {world:#?}");
        world.check().unwrap_or_else(|broken| panic!("{broken}\nafter {event:?}"));
    }
    world
}

/// A follower gets what its leader has.
const fn follows(node: usize) -> [Event; 2] {
    [Event::Fetch(node), Event::Reply(node)]
}

/// Node 2 is not in sync, the others are.
fn two_in_sync(min_in_sync: usize) -> Vec<Event> {
    assert!(min_in_sync <= 2, "or nothing is appended");
    vec![Event::Kill(2, Deaf::Nobody), Event::Restart(2, Deaf::Nobody)]
}

#[test]
fn six_events_from_the_beginning() {
    let states = explore(World::new(1), 6, true);
    assert!(states > 50_000, "only {states}");
}

#[test]
fn four_events_of_which_not_all_hear_at_once() {
    for min_in_sync in [1, 2] {
        let states = explore(World::new(min_in_sync), 4, false);
        assert!(states > 5_000, "only {states}");
    }
}

#[test]
fn from_a_committed_record_that_only_the_leader_knows_to_be() {
    for min_in_sync in [1, 2] {
        let mut events = two_in_sync(min_in_sync);
        events.push(Event::Append(0));
        events.extend(follows(1));
        events.push(Event::Fetch(1));
        let states = explore(after(min_in_sync, &events), 4, false);
        assert!(states > 5_000, "only {states}");
    }
}

#[test]
fn from_logs_that_went_different_ways() {
    // Each of two has led, and appended what nobody else got.
    let events = [Event::Append(0), Event::Elect(1, Deaf::Leader), Event::Append(1)];
    let states = explore(after(1, &events), 4, false);
    assert!(states > 10_000, "only {states}");
}

#[test]
fn from_a_follower_about_to_be_in_sync() {
    let events = [two_in_sync(1), vec![Event::Append(0), Event::Fetch(2)]].concat();
    let states = explore(after(1, &events), 4, false);
    assert!(states > 5_000, "only {states}");
}
