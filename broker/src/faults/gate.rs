//! The gate between a node and the world.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use highwater_storage::LogError;
use parking_lot::Mutex;

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
    held: Vec<Effect>,
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

    /// What was held back, in order.
    pub(crate) fn take_held(&self) -> Vec<Effect> {
        std::mem::take(&mut self.inside.lock().held)
    }

    /// Lets an event pass, changes it, or says what happens in its place.
    pub(crate) fn event(&self, event: Event) -> Result<Event, Option<Effect>> {
        let step = match &event {
            Event::Request(_, request) if self.is_armed() => request_api(request).map(Step::Request),
            Event::Synced { .. } if self.is_armed() => Some(Step::Sync),
            _ => None,
        };
        let Some(step) = step else { return Ok(event) };
        let fits = |fault| (fault == Fault::Fail) == (step == Step::Sync);
        match (self.inside.lock().fire(step, fits), event) {
            (Some(Fault::Lose), _) => Err(None),
            (Some(Fault::Cut), Event::Request(ticket, _)) => Err(Some(cut(ticket))),
            (Some(Fault::Fail), Event::Synced { topic, partition, .. }) => {
                let source = io::Error::other("a fault fails it");
                let outcome = Err(LogError::Io { what: "sync", path: PathBuf::new(), source });
                Ok(Event::Synced { topic, partition, outcome })
            }
            (_, event) => Ok(event),
        }
    }

    /// Lets an effect pass, or not.
    pub(crate) fn effect(&self, effect: Effect) -> Option<Effect> {
        let step = match &effect {
            Effect::Reply(_, reply) if self.is_armed() => reply_api(reply).map(Step::Reply),
            Effect::Disk(DiskWork::Sync { .. }) if self.is_armed() => Some(Step::Sync),
            _ => None,
        };
        let Some(step) = step else { return Some(effect) };
        let fits = |fault| match step {
            Step::Sync => matches!(fault, Fault::Hold | Fault::Lose),
            _ => fault != Fault::Fail,
        };
        let mut inside = self.inside.lock();
        match (inside.fire(step, fits), &effect) {
            (Some(Fault::Lose), _) => None,
            (Some(Fault::Cut), Effect::Reply(ticket, _)) => Some(cut(*ticket)),
            (Some(Fault::Hold), _) => {
                inside.held.push(effect);
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
