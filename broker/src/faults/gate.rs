//! The gate between a node and the world.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use highwater_storage::LogError;
use parking_lot::Mutex;

use crate::ids::NodeId;
use crate::node::{DiskWork, Effect, Event, Reply, Request, Ticket};

/// Which kind of request a fault is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Api {
    /// Appending.
    Produce,
    /// Reading.
    Fetch,
    /// Getting a producer id.
    InitProducerId,
    /// Asking for topics.
    Metadata,
}

/// A point at which something can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// A request has arrived, and nothing has been done.
    Request(Api),
    /// The request has been carried out, and its answer is about to be sent.
    Reply(Api),
    /// Records were appended, and are about to be synced where that was promised
    /// (`highwater.durability`, `flush.messages`, `flush.ms`).
    Sync,
    /// A leader has appended what it was asked to, and neither a follower nor the client knows of it. Here the node can be
    /// [killed](Fault::Kill), nothing else.
    Appended,
    /// Everyone in sync has what was appended, and the client is about to be told. Here the node can be
    /// [killed](Fault::Kill), nothing else.
    Replicated,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The message is lost: a request is not carried out, an answer not sent. Later answers of the connection wait
    /// behind it, as they would behind a lost packet, until the client gives the connection up.
    Lose,
    /// The connection breaks in place of the answer (or of the request's being carried out): the client finds out at
    /// once, and does not know which it was.
    Cut,
    /// An answer, or a sync, is kept back until it is let go. A request cannot be held: it passes.
    Hold,
    /// A sync fails, whatever became of it on the disk. Requests and answers pass.
    Fail,
    /// The node is killed, as [`NodeHandle::kill`](crate::NodeHandle::kill) does, and what it was about to do is not done.
    /// Comes where something was [appended](Step::Appended) or [replicated](Step::Replicated), or an answer is to be sent.
    Kill,
}

#[derive(Debug)]
struct Rule {
    step: Step,
    fault: Fault,
    times: u32,
}

#[derive(Debug, Default)]
struct Inside {
    rules: Vec<Rule>,
    /// Each with whose it is.
    held: Vec<(NodeId, Effect)>,
}

/// What a node is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// What a produce brings.
    Produce,
    /// What follows from what others, or the disk, have done.
    Follows,
    /// Anything else.
    Other,
}

/// The rules in force, and what they hold back.
#[derive(Debug, Default)]
pub struct Gate {
    armed: AtomicBool,
    inside: Mutex<Inside>,
}

impl Gate {
    /// Lets `fault` happen the next `times` times that `step` is reached. Rules are tried in the order they came.
    pub fn on(&self, step: Step, fault: Fault, times: u32) {
        self.inside.lock().rules.push(Rule { step, fault, times });
        self.armed.store(true, Ordering::Release);
    }

    /// Whether no rule is left that could still fire.
    pub fn is_spent(&self) -> bool {
        self.inside.lock().rules.is_empty()
    }

    /// What was held back of a node, in order.
    pub(crate) fn take_held(&self, node: NodeId) -> Vec<Effect> {
        let held = &mut self.inside.lock().held;
        held.extract_if(.., |(whose, _)| *whose == node).map(|(_, effect)| effect).collect()
    }

    /// What may happen to a node once it has been stepped with this event.
    pub(crate) fn moment(&self, event: &Event) -> Moment {
        match event {
            _ if !self.is_armed() => Moment::Other,
            Event::Request(_, Request::Produce(_)) => Moment::Produce,
            Event::Message { .. } | Event::Synced { .. } => Moment::Follows,
            _ => Moment::Other,
        }
    }

    /// Whether a node dies of what it was about to do, which is then not done.
    pub(crate) fn is_fatal(&self, moment: Moment, effects: &[Effect]) -> bool {
        if !self.is_armed() {
            return false;
        }
        let answers_produce =
            effects.iter().any(|effect| matches!(effect, Effect::Reply(_, Reply::Produce(_))));
        let step = match moment {
            Moment::Produce => Some(Step::Appended),
            Moment::Follows if answers_produce => Some(Step::Replicated),
            Moment::Follows | Moment::Other => None,
        };
        let replies = effects.iter().filter_map(|effect| match effect {
            Effect::Reply(_, reply) => reply_api(reply).map(Step::Reply),
            _ => None,
        });
        let mut inside = self.inside.lock();
        step.into_iter().chain(replies).any(|step| inside.fire(step, |fault| fault == Fault::Kill).is_some())
    }

    /// Lets an event pass, changes it, or says what happens in its place.
    pub(crate) fn event(&self, event: Event) -> Result<Event, Option<Effect>> {
        let step = match &event {
            Event::Request(_, request) if self.is_armed() => request_api(request).map(Step::Request),
            Event::Synced { .. } if self.is_armed() => Some(Step::Sync),
            _ => None,
        };
        let Some(step) = step else { return Ok(event) };
        let fits = |fault| fault != Fault::Kill && (fault == Fault::Fail) == (step == Step::Sync);
        match (self.inside.lock().fire(step, fits), event) {
            (Some(Fault::Lose), _) => Err(None),
            (Some(Fault::Cut), Event::Request(ticket, _)) => Err(Some(cut(ticket))),
            (Some(Fault::Fail), Event::Synced { topic, partition, birth, .. }) => {
                let source = io::Error::other("a fault fails it");
                let outcome = Err(LogError::Io { what: "sync", path: PathBuf::new(), source });
                Ok(Event::Synced { topic, partition, birth, outcome })
            }
            (_, event) => Ok(event),
        }
    }

    /// Lets an effect pass, or not.
    pub(crate) fn effect(&self, node: NodeId, effect: Effect) -> Option<Effect> {
        let step = match &effect {
            Effect::Reply(_, reply) if self.is_armed() => reply_api(reply).map(Step::Reply),
            Effect::Disk(DiskWork::Sync { .. }) if self.is_armed() => Some(Step::Sync),
            _ => None,
        };
        let Some(step) = step else { return Some(effect) };
        let fits = |fault| match step {
            Step::Sync => matches!(fault, Fault::Hold | Fault::Lose),
            _ => !matches!(fault, Fault::Fail | Fault::Kill),
        };
        let mut inside = self.inside.lock();
        match (inside.fire(step, fits), &effect) {
            (Some(Fault::Lose), _) => None,
            (Some(Fault::Cut), Effect::Reply(ticket, _)) => Some(cut(*ticket)),
            (Some(Fault::Hold), _) => {
                inside.held.push((node, effect));
                None
            }
            _ => Some(effect),
        }
    }

    fn is_armed(&self) -> bool {
        self.armed.load(Ordering::Relaxed)
    }
}

impl Inside {
    /// The first rule for this step whose fault can happen here.
    fn fire(&mut self, step: Step, fits: impl Fn(Fault) -> bool) -> Option<Fault> {
        let place = self.rules.iter().position(|rule| rule.step == step && fits(rule.fault))?;
        let rule = &mut self.rules[place];
        rule.times = rule.times.saturating_sub(1);
        let fault = rule.fault;
        if rule.times == 0 {
            self.rules.remove(place);
        }
        Some(fault)
    }
}

fn cut(ticket: Ticket) -> Effect {
    Effect::Close(ticket.connection, "a fault cuts it".to_owned())
}

fn request_api(request: &Request) -> Option<Api> {
    match request {
        Request::Produce(_) => Some(Api::Produce),
        Request::Fetch(_) => Some(Api::Fetch),
        Request::InitProducerId(_) => Some(Api::InitProducerId),
        Request::Metadata(_) => Some(Api::Metadata),
        _ => None,
    }
}

fn reply_api(reply: &Reply) -> Option<Api> {
    match reply {
        Reply::Produce(_) => Some(Api::Produce),
        Reply::Fetch(_) => Some(Api::Fetch),
        Reply::InitProducerId(_) => Some(Api::InitProducerId),
        Reply::Metadata(_) => Some(Api::Metadata),
        _ => None,
    }
}
