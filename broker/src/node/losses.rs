//! What an unclean election took away, as the logs of this node tell it.
//!
//! The controller is told at once, and once more whenever there is a connection to it again: what it was told before may be
//! lost, and hearing a thing twice does no harm.

use std::collections::VecDeque;

use highwater_storage::{LeaderEpoch, Offset};

use super::{Effects, Node};
use crate::cluster::controller::LostRange;
use crate::message::{Ask, Loss, Lost};
use crate::partition::parked::Watched;

/// How much of it is kept to be told again.
const MAX_LOSSES: usize = 1_000;

/// What the controller was told, and is to be.
#[derive(Debug, Default)]
pub(super) struct Losses {
    known: VecDeque<Loss>,
    /// How many of the last are to be told.
    untold: usize,
}

impl Losses {
    fn note(&mut self, loss: Loss) {
        if self.known.len() == MAX_LOSSES {
            self.known.pop_front();
        }
        self.known.push_back(loss);
        self.untold = (self.untold + 1).min(MAX_LOSSES);
    }

    /// The controller may not have heard anything.
    pub(super) fn say_again(&mut self) {
        self.untold = self.known.len();
    }
}

impl Node {
    /// This node leads a partition after an unclean election, with what its log holds below this offset.
    pub(super) fn note_unclean_start(
        &mut self,
        (topic, partition): Watched,
        epoch: LeaderEpoch,
        end: Offset,
    ) {
        self.losses.note(Loss { topic, partition, leader_epoch: epoch, what: Lost::From(end) });
    }

    /// What this node had of a partition, and its leader does not, was cut off. `epoch` wrote the last of it, and below
    /// `committed` all of it was committed.
    pub(super) fn note_cut(
        &mut self,
        (topic, partition): Watched,
        (from, to): (Offset, Offset),
        epoch: LeaderEpoch,
        committed: Offset,
    ) {
        let Ok(replica) = self.replica(topic, partition) else { return };
        let range = LostRange { node: self.id, from, to, committed: committed.clamp(from, to) };
        let what = Lost::Cut { range, epoch };
        self.losses.note(Loss { topic, partition, leader_epoch: replica.epoch(), what });
    }

    /// Tells the controller what it was not told yet.
    pub(super) fn tell_losses(&mut self, effects: &mut Effects) {
        let untold = std::mem::take(&mut self.losses.untold);
        if untold > 0 {
            let first = self.losses.known.len() - untold;
            let losses = self.losses.known.range(first..).cloned().collect();
            self.tell_controller(Ask::Lost(losses), effects);
        }
    }
}
