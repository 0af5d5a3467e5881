//! What goes wrong between the decision that a transaction ends and the word that it has: its markers, and what becomes of
//! them, are messages like any other while faults are awaited, also where a node tells itself.

use super::gate::{Fault, Step};
use crate::message::{Message, Word};
use crate::node::{Effect, Event};

/// What a node that is about to do this tells of the end of a transaction.
pub(super) fn told(effect: &Effect) -> Option<Step> {
    match effect {
        Effect::Send(_, Message(Word::Markers { .. })) => Some(Step::Markers),
        Effect::Send(_, Message(Word::MarkersWritten { .. })) => Some(Step::Marked),
        _ => None,
    }
}

/// What of this a node hears.
pub(super) fn heard(event: &Event) -> Option<Step> {
    match event {
        Event::Message { message: Message(Word::MarkersWritten { .. }), .. } => Some(Step::Marked),
        _ => None,
    }
}

/// Whether the fault can come when a message of this step is sent. Who is to be killed by what was marked is the coordinator,
/// which hears it.
pub(super) fn fits(step: Step, fault: Fault) -> bool {
    match fault {
        Fault::Lose | Fault::Hold => true,
        Fault::Kill => step == Step::Markers,
        Fault::Cut | Fault::Fail => false,
    }
}
