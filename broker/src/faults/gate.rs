//! The gate between a node and the world.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use highwater_storage::{LogError, Offset};
use parking_lot::Mutex;

use super::endings;
use super::kept_back::KeptBack;
use crate::ids::{BrokerEpoch, NodeId};
use crate::node::{Brought, DiskWork, Effect, Effects, Event, Node, Reply, Request, Ticket};
use crate::partition::parked::Watched;
use crate::transaction::{TransactionRequest, TransactionalId};

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
    /// A leader has appended records of a request, and neither a follower nor the client knows of it. A request of which
    /// nothing is appended, for it is refused or was there already, does not come here.
    Appended,
    /// A leader has appended the offsets that a transaction commits (TxnOffsetCommit), and neither a follower nor the client
    /// knows of it: all that is said of [`Appended`](Self::Appended) holds for them.
    OffsetsAppended,
    /// A coordinator has appended that a transaction ends (`PrepareCommit`, `PrepareAbort`), as its producer asked (EndTxn), and
    /// neither a follower, nor the client, nor a leader of its partitions knows of it.
    Prepared,
    /// A coordinator is about to tell a leader how transactions end: one message to each leader of their partitions.
    Markers,
    /// Markers are committed, and the coordinator is about to hear of it; with the last of them it appends that the transaction is
    /// complete (`CompleteCommit`, `CompleteAbort`).
    Marked,
    /// Everyone in sync has what was appended, or the sync that was promised for it is done, and the client, which waited
    /// for that, is about to be told. An answer that waits for nobody does not come here.
    Replicated,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The message is lost: a request is not carried out, an answer not sent. Later answers of the connection wait
    /// behind it, as they would behind a lost packet, until the client gives the connection up.
    ///
    /// Of what was [appended](Step::Appended) the message is lost with which each follower was to be sent it, and with it
    /// whatever else it brings; the client is answered as ever. A follower asks again when it finds that an answer is
    /// missing: with the next one it gets, when a link is [healed](crate::Cluster::heal), at the latest after 30 s
    /// (Kafka's `replica.socket.timeout.ms`). Of what was [replicated](Step::Replicated) the answer to the client is lost.
    Lose,
    /// The connection breaks in place of the answer (or of the request's being carried out): the client finds out at
    /// once, and does not know which it was. Does not come where something was [appended](Step::Appended).
    Cut,
    /// An answer, or a sync, is kept back until it [is let go](crate::Cluster::release_held). A request cannot be held: it
    /// passes.
    ///
    /// Of what was [appended](Step::Appended) nobody hears until then: the request is not answered, be it that its time is
    /// over, and followers get nothing more of the partitions it names, in the order in which it was for them. Other
    /// partitions go on. What is held of a node ends with its life.
    ///
    /// Of a transaction's end that was [prepared](Step::Prepared) no marker is sent either.
    Hold,
    /// A sync fails, whatever became of it on the disk. Requests and answers pass.
    Fail,
    /// The node is killed, as [`NodeHandle::kill`](crate::NodeHandle::kill) does, and what it was about to do is not done.
    /// Comes where something was [appended](Step::Appended) or [replicated](Step::Replicated), or an answer is to be sent; and to
    /// the coordinator of a transaction that is [prepared](Step::Prepared) or [marked](Step::Marked), or whose
    /// [markers](Step::Markers) are to be sent.
    Kill,
}

#[derive(Debug)]
struct Rule {
    step: Step,
    fault: Fault,
    times: u32,
    /// How often the step is reached before.
    passes: u32,
}

#[derive(Debug, Default)]
struct Inside {
    rules: Vec<Rule>,
    /// What is kept back, or lost, of the last life of each node that had any of it.
    back: BTreeMap<NodeId, (BrokerEpoch, KeptBack)>,
}

/// What may be written by what a node is about to do.
#[derive(Debug)]
pub(crate) struct Append {
    /// What that is called.
    step: Step,
    /// The question that is to be answered before.
    question: Option<u64>,
    /// Who waits for it.
    ticket: Ticket,
    /// Where the logs ended before that it is for.
    ends: Vec<(Watched, Offset)>,
    /// The transaction that ends with it.
    ending: Option<TransactionalId>,
}

/// What a node is about to do.
#[derive(Debug)]
pub(crate) enum Moment {
    /// What a request asks, which may be to write something.
    Asked(Vec<Append>),
    /// What follows from what others, or the disk, have done; so may what waited for a coordinator of transactions.
    Follows(Vec<Append>),
    /// Anything else.
    Other,
}

impl Moment {
    /// A produce is asked, of partitions whose logs end there.
    #[cfg(test)]
    pub(crate) fn of_produce(ticket: Ticket, ends: Vec<(Watched, Offset)>) -> Self {
        Self::Asked(vec![Append { step: Step::Appended, question: None, ticket, ends, ending: None }])
    }

    /// What was written, with the partitions that it was written to.
    fn appended(&self, node: &Node) -> Option<(&Append, Vec<Watched>)> {
        let appends = match self {
            Self::Asked(appends) | Self::Follows(appends) => appends,
            Self::Other => return None,
        };
        let is_answered = |append: &&Append| append.question.is_none_or(|question| !node.is_asking(question));
        let grown = appends.iter().filter(is_answered).map(|append| (append, grown(&append.ends, node)));
        grown.into_iter().find(|(_, grown)| !grown.is_empty())
    }
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
        self.add(Rule { step, fault, times, passes: 0 });
    }

    /// Lets `fault` happen once, when `step` is reached for the `nth` time from now on; the first is 1.
    pub fn on_nth(&self, step: Step, nth: u32, fault: Fault) {
        self.add(Rule { step, fault, times: 1, passes: nth.saturating_sub(1) });
    }

    fn add(&self, rule: Rule) {
        self.inside.lock().rules.push(rule);
        self.armed.store(true, Ordering::Release);
    }

    /// Whether no rule is left that could still fire.
    pub fn is_spent(&self) -> bool {
        self.inside.lock().rules.is_empty()
    }

    /// What was held back of this life of a node, in order; from here on nothing is.
    pub(crate) fn take_held(&self, node: NodeId, life: BrokerEpoch) -> Vec<Effect> {
        self.inside.lock().back_of(node, life).map(KeptBack::release).unwrap_or_default()
    }

    /// A life of a node is over: what was held, or to be lost, of it is no business of the next. What it was about to do may
    /// come here yet.
    pub(crate) fn forget(&self, node: NodeId, life: BrokerEpoch) {
        if let Some(back) = self.inside.lock().back_of(node, life) {
            *back = KeptBack::default();
        }
    }

    /// What may happen to a node once it has been stepped with this event.
    pub(crate) fn moment(&self, event: &Event, node: &Node) -> Moment {
        match event {
            _ if !self.is_armed() => Moment::Other,
            Event::Request(..) => Moment::Asked(appends(event, node)),
            Event::Message { .. } | Event::Synced { .. } => Moment::Follows(appends(event, node)),
            _ => Moment::Other,
        }
    }

    /// Looks at what a node is about to do, and takes out of it what does not come about. True: the node dies of it, and does
    /// nothing of it.
    pub(crate) fn weigh(&self, moment: &Moment, node: &Node, effects: &mut Effects) -> bool {
        if !self.is_armed() {
            return false;
        }
        let appended = moment.appended(node);
        let mut inside = self.inside.lock();
        if inside.is_fatal(moment, appended.as_ref().map(|(append, _)| append.step), effects) {
            return true;
        }
        let Inside { rules, back } = &mut *inside;
        let Some(back) = back_of(back, node.id(), node.broker_epoch()) else { return false };
        let may_hold = !back.is_full();
        let fits = |fault| fault == Fault::Lose || (fault == Fault::Hold && may_hold);
        if let Some((append, grown)) = appended {
            match fire(rules, append.step, fits) {
                Some(Fault::Hold) => {
                    back.hold(append.ticket, append.ends.iter().map(|(partition, _)| *partition));
                    back.unmarked.extend(append.ending.clone());
                }
                Some(_) => back.lose(grown.iter().flat_map(|partition| {
                    node.followers_of(*partition).map(|follower| (*partition, follower))
                })),
                None => {}
            }
        }
        back.take_from(effects);
        inside.tell_endings(node, effects);
        if matches!(moment, Moment::Follows(_)) {
            let take = |effect| inside.replicated((node.id(), node.broker_epoch()), effect);
            *effects = std::mem::take(effects).into_iter().filter_map(take).collect();
        }
        false
    }

    /// Whether a node dies before it takes this.
    pub(crate) fn kills_before(&self, event: &Event) -> bool {
        let is_kill = |fault| fault == Fault::Kill;
        self.is_armed()
            && endings::heard(event).is_some_and(|step| self.inside.lock().fire(step, is_kill).is_some())
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

    /// Lets an effect of a node's life pass, or not.
    pub(crate) fn effect(&self, of: (NodeId, BrokerEpoch), effect: Effect) -> Option<Effect> {
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
                inside.keep(of, effect);
                None
            }
            _ => Some(effect),
        }
    }

    /// Whether anything can go wrong.
    pub(crate) fn is_armed(&self) -> bool {
        self.armed.load(Ordering::Relaxed)
    }
}

impl Inside {
    fn fire(&mut self, step: Step, fits: impl Fn(Fault) -> bool) -> Option<Fault> {
        fire(&mut self.rules, step, fits)
    }

    fn back_of(&mut self, node: NodeId, life: BrokerEpoch) -> Option<&mut KeptBack> {
        back_of(&mut self.back, node, life)
    }

    fn keep(&mut self, (node, life): (NodeId, BrokerEpoch), effect: Effect) {
        if let Some(back) = self.back_of(node, life) {
            back.keep(effect);
        }
    }

    /// Whether a node dies of what it was about to do.
    fn is_fatal(&mut self, moment: &Moment, appended: Option<Step>, effects: &Effects) -> bool {
        let follows = matches!(moment, Moment::Follows(_)) && effects.iter().any(acknowledges);
        let step = appended.or(follows.then_some(Step::Replicated));
        let replies = effects.iter().filter_map(|effect| match effect {
            Effect::Reply(_, reply) => reply_api(reply).map(Step::Reply),
            _ => None,
        });
        let told = effects.iter().filter_map(endings::told).filter(|step| endings::fits(*step, Fault::Kill));
        let is_kill = |fault| fault == Fault::Kill;
        step.into_iter().chain(replies).chain(told).any(|step| fire(&mut self.rules, step, is_kill).is_some())
    }

    /// Lets what is told of the ends of transactions pass, or not.
    fn tell_endings(&mut self, node: &Node, effects: &mut Effects) {
        for effect in std::mem::take(effects) {
            let fits = |step| move |fault| fault != Fault::Kill && endings::fits(step, fault);
            match endings::told(&effect).and_then(|step| self.fire(step, fits(step))) {
                Some(Fault::Hold) => self.keep((node.id(), node.broker_epoch()), effect),
                Some(_) => {}
                None => effects.push(effect),
            }
        }
    }

    /// Lets an effect pass that may be the answer to what everyone has, or not.
    fn replicated(&mut self, of: (NodeId, BrokerEpoch), effect: Effect) -> Option<Effect> {
        let Effect::Reply(ticket, _) = &effect else { return Some(effect) };
        if !acknowledges(&effect) {
            return Some(effect);
        }
        let fits = |fault| matches!(fault, Fault::Lose | Fault::Cut | Fault::Hold);
        match self.fire(Step::Replicated, fits) {
            Some(Fault::Cut) => Some(cut(*ticket)),
            Some(Fault::Hold) => {
                self.keep(of, effect);
                None
            }
            Some(_) => None,
            None => Some(effect),
        }
    }
}

/// What is kept back of a life of a node: of a new one nothing yet, of one that another came after nothing any more.
fn back_of(
    back: &mut BTreeMap<NodeId, (BrokerEpoch, KeptBack)>,
    node: NodeId,
    life: BrokerEpoch,
) -> Option<&mut KeptBack> {
    let (of, kept) = back.entry(node).or_insert_with(|| (life, KeptBack::default()));
    if *of < life {
        (*of, *kept) = (life, KeptBack::default());
    }
    (*of == life).then_some(kept)
}

/// The first rule for this step whose fault can happen here.
fn fire(rules: &mut Vec<Rule>, step: Step, fits: impl Fn(Fault) -> bool) -> Option<Fault> {
    let is_due = |rule: &&mut Rule| rule.step == step && fits(rule.fault);
    let mut due = None;
    for (place, rule) in rules.iter_mut().enumerate().filter(|(_, rule)| is_due(rule)) {
        match rule.passes.checked_sub(1) {
            Some(passes) => rule.passes = passes,
            None => {
                due = Some(place);
                break;
            }
        }
    }
    let place = due?;
    let rule = &mut rules[place];
    rule.times = rule.times.saturating_sub(1);
    let fault = rule.fault;
    if rule.times == 0 {
        rules.remove(place);
    }
    Some(fault)
}

/// What an event may have a node write.
fn appends(event: &Event, node: &Node) -> Vec<Append> {
    let one = |Brought { question, ticket, partitions, are_offsets }: Brought| {
        let step = if are_offsets { Step::OffsetsAppended } else { Step::Appended };
        let end = |partition| Some((partition, node.log_end(partition)?));
        let ends = partitions.into_iter().filter_map(end).collect();
        Append { step, question, ticket, ends, ending: None }
    };
    let ending = prepared(event, node);
    node.brought(event).into_iter().map(one).chain(ending).collect()
}

/// The end of a transaction that an event may have its coordinator decide.
fn prepared(event: &Event, node: &Node) -> Option<Append> {
    let Event::Request(ticket, Request::Transaction(TransactionRequest::End(request))) = event else {
        return None;
    };
    let partition = node.coordinates(&request.id)?;
    let ends = vec![(partition, node.log_end(partition)?)];
    let ending = Some(request.id.clone());
    Some(Append { step: Step::Prepared, question: None, ticket: *ticket, ends, ending })
}

/// The partitions whose logs ended there before, and do not now.
fn grown(ends: &[(Watched, Offset)], node: &Node) -> Vec<Watched> {
    let grew = ends.iter().filter(|(partition, end)| node.log_end(*partition).is_some_and(|now| now > *end));
    grew.map(|(partition, _)| *partition).collect()
}

/// Whether a client is told that records of it were taken.
fn acknowledges(effect: &Effect) -> bool {
    match effect {
        Effect::Reply(_, Reply::Produce(parts)) => parts.iter().any(|part| part.outcome.is_ok()),
        _ => false,
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
