//! What a node asks the controller, and what it does with the answers.
//!
//! Always: an answer is told when the node knows everything it rests on: who is told of a topic and asks again finds it. A
//! client that is gone is not waited for. Nothing is asked twice at once that one answer serves. What was asked when the
//! controller could not be reached is asked again when it can: a change that was made, and of which the answer was lost, may
//! then be refused for it is there already, as behind Kafka's `ForwardingManager`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::{
    ConnectionId, CoordinatorKey, Effect, Effects, MetadataRequest, NewTopicFacts, Node, Reply, Request,
    Ticket,
};
use crate::ids::{MetadataOffset, Monotonic, Now, TopicName};
use crate::message::{Answer, Ask, Caller, Message, Peer, ToController, Word};
use crate::refusal::Refusal;
use crate::transaction::{AddOffsets, InitProducer};

/// What a node has asked, and who waits for it.
#[derive(Debug, Default)]
pub(super) struct Asking {
    next_call: u64,
    /// What goes on when an answer comes.
    calls: BTreeMap<u64, Then>,
    /// Answers that rest on what the node does not know yet, in order of coming.
    early: VecDeque<(MetadataOffset, Caller, Answer)>,
    /// When the controller is told again that the node is there; none where nobody else could take over.
    next_heartbeat: Option<Monotonic>,
    /// Who waits for a producer id; a block is asked for while there are any.
    for_producer_ids: VecDeque<WantsId>,
}

/// Who waits for a producer id.
#[derive(Debug)]
enum WantsId {
    /// A producer that gets one of its own.
    Idempotent(Ticket),
    /// One whose transactional id may need one.
    Transactional(Ticket, InitProducer),
}

impl WantsId {
    fn ticket(&self) -> Ticket {
        match self {
            Self::Idempotent(ticket) | Self::Transactional(ticket, _) => *ticket,
        }
    }
}

/// What a node does with an answer.
#[derive(Debug)]
enum Then {
    /// Passes it on to the client that asked.
    Answer(Ticket, Arc<Request>),
    /// Topics were made on demand: tells of them.
    Metadata(Ticket, MetadataRequest),
    /// The same: tells who coordinates.
    Coordinators(Ticket, Vec<CoordinatorKey>),
    /// Makes a group's partition part of a transaction.
    AddOffsets(Ticket, AddOffsets),
    /// Hands the block out.
    ProducerIds,
}

impl Then {
    fn connection(&self) -> Option<ConnectionId> {
        match self {
            Self::Answer(ticket, _)
            | Self::Metadata(ticket, _)
            | Self::Coordinators(ticket, _)
            | Self::AddOffsets(ticket, _) => Some(ticket.connection),
            Self::ProducerIds => None,
        }
    }
}

impl Asking {
    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        self.next_heartbeat
    }

    pub(super) fn forget(&mut self, connection: ConnectionId) {
        self.calls.retain(|_, then| then.connection() != Some(connection));
        self.for_producer_ids.retain(|waits| waits.ticket().connection != connection);
    }
}

impl Node {
    /// Tells the controller something.
    pub(super) fn tell_controller(&self, what: Ask, effects: &mut Effects) {
        let message = ToController { broker_epoch: self.broker_epoch, what };
        effects.push(Effect::Send(Peer::Controller, Message(Word::ToController(message))));
    }

    /// Says that the node is there, and up to where it knows the cluster's log.
    pub(super) fn beat_at_once(&mut self, now: Now, effects: &mut Effects) {
        self.asking.next_heartbeat = None;
        self.losses.say_again();
        self.tell_controller(Ask::Reconnected { upto: self.known_upto }, effects);
        self.beat(now, effects);
        self.ask_again(effects);
    }

    /// What was asked may be lost: it is asked once more, and an answer to the first is nobody's. Unless it is a change that
    /// was answered already, or is yet.
    fn ask_again(&mut self, effects: &mut Effects) {
        for (call, then) in std::mem::take(&mut self.asking.calls) {
            match then {
                Then::Answer(ticket, request) => {
                    let caller = Caller(call);
                    if !self.asking.early.iter().any(|(_, answered, _)| *answered == caller) {
                        self.ask_for_change(caller, Arc::clone(&request), effects);
                    }
                    self.asking.calls.insert(call, Then::Answer(ticket, request));
                }
                Then::Metadata(ticket, request) => self.metadata(ticket, request, effects),
                Then::Coordinators(ticket, keys) => self.find_coordinator(ticket, keys, effects),
                Then::AddOffsets(ticket, request) => self.make_then_add_offsets(ticket, request, effects),
                Then::ProducerIds => {}
            }
        }
        if !self.asking.for_producer_ids.is_empty() {
            self.ask_for_producer_ids(effects);
        }
    }

    /// Says that the node is there, if it is time and there are others.
    pub(super) fn beat(&mut self, now: Now, effects: &mut Effects) {
        if self.metadata.nodes().nth(1).is_none() {
            return;
        }
        if self.asking.next_heartbeat.is_none_or(|at| at <= now.monotonic) {
            self.asking.next_heartbeat = Some(now.monotonic.plus_ms(self.config.node_heartbeat_ms()));
            self.tell_controller(Ask::Heartbeat, effects);
            self.look_at_failed();
        }
    }

    /// Hands a client's request on.
    pub(super) fn forward(&mut self, ticket: Ticket, request: Request, effects: &mut Effects) {
        let request = Arc::new(request);
        let caller = self.call(Then::Answer(ticket, Arc::clone(&request)));
        self.ask_for_change(caller, request, effects);
    }

    fn ask_for_change(&self, caller: Caller, request: Arc<Request>, effects: &mut Effects) {
        self.tell_controller(Ask::Request { caller, request }, effects);
    }

    /// Has topics made that somebody asked about, and then tells of them.
    pub(super) fn make_then_describe(
        &mut self,
        ticket: Ticket,
        request: MetadataRequest,
        names: Vec<TopicName>,
        effects: &mut Effects,
    ) {
        let caller = self.call(Then::Metadata(ticket, request));
        self.tell_controller(Ask::TopicsOnDemand { caller, names }, effects);
    }

    /// Has the topic made that keeps groups or transactions, and then tells who coordinates.
    pub(super) fn make_then_find(
        &mut self,
        ticket: Ticket,
        keys: Vec<CoordinatorKey>,
        names: Vec<TopicName>,
        effects: &mut Effects,
    ) {
        let caller = self.call(Then::Coordinators(ticket, keys));
        self.tell_controller(Ask::TopicsOnDemand { caller, names }, effects);
    }

    /// Has the topic made that keeps groups, and then makes a partition of it part of a transaction.
    pub(super) fn make_then_add_offsets(
        &mut self,
        ticket: Ticket,
        request: AddOffsets,
        effects: &mut Effects,
    ) {
        let caller = self.call(Then::AddOffsets(ticket, request));
        let names = vec![TopicName::consumer_offsets()];
        self.tell_controller(Ask::TopicsOnDemand { caller, names }, effects);
    }

    /// Answers with a producer id once there is one.
    pub(super) fn await_producer_id(&mut self, ticket: Ticket, effects: &mut Effects) {
        self.asking.for_producer_ids.push_back(WantsId::Idempotent(ticket));
        self.want_producer_ids(effects);
    }

    /// The same, for who has a transactional id: its request goes on then.
    pub(super) fn await_producer_id_for(
        &mut self,
        ticket: Ticket,
        request: InitProducer,
        effects: &mut Effects,
    ) {
        self.asking.for_producer_ids.push_back(WantsId::Transactional(ticket, request));
        self.want_producer_ids(effects);
    }

    /// There are to be producer ids again.
    pub(super) fn want_producer_ids(&mut self, effects: &mut Effects) {
        if !self.asking.calls.values().any(|then| matches!(then, Then::ProducerIds)) {
            self.ask_for_producer_ids(effects);
        }
    }

    fn ask_for_producer_ids(&mut self, effects: &mut Effects) {
        let caller = self.call(Then::ProducerIds);
        self.tell_controller(Ask::ProducerIds { caller }, effects);
    }

    fn call(&mut self, then: Then) -> Caller {
        let call = self.asking.next_call;
        self.asking.next_call += 1;
        self.asking.calls.insert(call, then);
        Caller(call)
    }

    /// An answer came.
    pub(super) fn answered(
        &mut self,
        now: Now,
        caller: Caller,
        at: MetadataOffset,
        answer: Answer,
        effects: &mut Effects,
    ) {
        self.asking.early.push_back((at, caller, answer));
        self.answer_what_is_known(now, effects);
    }

    /// The node knows more: answers that waited for it go out.
    pub(super) fn answer_what_is_known(&mut self, now: Now, effects: &mut Effects) {
        while let Some((at, _, _)) = self.asking.early.front()
            && *at <= self.known_upto
        {
            let Some((_, caller, answer)) = self.asking.early.pop_front() else { break };
            self.take_answer(now, caller, answer, effects);
        }
    }

    fn take_answer(&mut self, now: Now, caller: Caller, answer: Answer, effects: &mut Effects) {
        match (self.asking.calls.remove(&caller.0), answer) {
            (Some(Then::Answer(ticket, _)), Answer::Reply(reply)) => {
                effects.push(Effect::Reply(ticket, *reply));
            }
            (Some(Then::Metadata(ticket, request)), Answer::Reply(reply)) => {
                let reply = self.describe_metadata(&request, refused_of(*reply));
                effects.push(Effect::Reply(ticket, Reply::Metadata(reply)));
            }
            (Some(Then::Coordinators(ticket, keys)), Answer::Reply(reply)) => {
                for refusal in refused_of(*reply).into_values() {
                    tracing::error!(%refusal, "a topic that keeps groups or transactions cannot be made");
                }
                let found = self.find_coordinators(keys);
                effects.push(Effect::Reply(ticket, Reply::FindCoordinator(found)));
            }
            (Some(Then::AddOffsets(ticket, request)), Answer::Reply(_)) => {
                self.add_offsets_now(now, ticket, request, effects);
            }
            (Some(Then::ProducerIds), Answer::ProducerIds(block)) => {
                self.hand_out_producer_ids(now, block, effects);
            }
            // Who asked is gone, or was answered.
            _ => {}
        }
    }

    fn hand_out_producer_ids(&mut self, now: Now, block: Result<i64, Refusal>, effects: &mut Effects) {
        match &block {
            Ok(first) => self.producer_ids.begin(*first),
            Err(refusal) => tracing::error!(%refusal, "there are no producer ids"),
        }
        // Who goes on and finds that there are none again waits behind the others.
        for waits in std::mem::take(&mut self.asking.for_producer_ids) {
            match (&block, waits) {
                (Err(refusal), waits) => {
                    let refused = Reply::InitProducerId(Err(refusal.clone()));
                    effects.push(Effect::Reply(waits.ticket(), refused));
                }
                (Ok(_), WantsId::Transactional(ticket, request)) => {
                    self.init_transactional(now, ticket, request, effects);
                }
                (Ok(_), WantsId::Idempotent(ticket)) => match self.producer_ids.take() {
                    Some(id) => {
                        effects.push(Effect::Reply(ticket, Reply::InitProducerId(Ok(Self::fresh(id)))))
                    }
                    None => self.await_producer_id(ticket, effects),
                },
            }
        }
    }
}

/// The topics that could not be made.
fn refused_of(reply: Reply) -> BTreeMap<TopicName, Refusal> {
    let Reply::CreateTopics(created) = reply else { return BTreeMap::new() };
    let refused = |outcome: Result<NewTopicFacts, Refusal>| outcome.err();
    created.into_iter().filter_map(|topic| Some((topic.name, refused(topic.outcome)?))).collect()
}
