//! Carries what our client's machines say, as frames of Kafka's protocol, and brings back what is answered: what the client's
//! driver does on tokio.

use core::time::Duration;
use std::collections::BTreeMap;

use bytes::Bytes;
use highwater_client::consumer::ConsumerMachine;
use highwater_client::exchange::{Action, Answer, Body, Failure, Peer, RequestId};
use highwater_client::group::GroupMachine;
use highwater_client::producer::{ProducerMachine, SealedBatch};
use highwater_client::time::{Monotonic, Now};
use highwater_client::transport::embedded::Target;
use highwater_client::{Acks, TimestampMs};
use highwater_protocol::frame::{SIZE_BYTES, decode_response, encode_request};
use highwater_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use highwater_protocol::{ApiKey, DecodeError, Message, Request, Response};

use super::super::client::{Act, Client, Desk, Question, To, Told};
use super::super::world::PORT;
use crate::ids::NodeId;
use crate::wire::{self, Incoming, TopicRules};

/// The newest version in which our client commits and asks for offsets: later ones name topics by id.
const NEWEST_BY_NAME: i16 = 9;

/// One of our client's machines.
pub(super) trait Machine {
    fn step(&mut self, now: Now, actions: &mut Vec<Action>);
    fn deadline(&self) -> Option<Monotonic>;
    fn answer(&mut self, now: Now, id: RequestId, answer: Result<Answer, Failure>);
    /// Takes encoded batches back; only a producer lends any.
    fn sealed(&mut self, _batches: Vec<SealedBatch>) {}
}

macro_rules! is_a_machine {
    ($machine:ty $(, $lends:item)?) => {
        impl Machine for $machine {
            fn step(&mut self, now: Now, actions: &mut Vec<Action>) {
                self.step(now, actions);
            }

            fn deadline(&self) -> Option<Monotonic> {
                self.deadline()
            }

            fn answer(&mut self, now: Now, id: RequestId, answer: Result<Answer, Failure>) {
                self.answer(now, id, answer);
            }

            $($lends)?
        }
    };
}

is_a_machine!(ConsumerMachine);
is_a_machine!(GroupMachine);
is_a_machine!(
    ProducerMachine,
    fn sealed(&mut self, batches: Vec<SealedBatch>) {
        self.sealed(batches);
    }
);

/// A client of a run that is one of these machines: what comes is the machine's, and whatever came, there may be work.
pub(super) trait Driven {
    type Machine: Machine;

    fn parts(&mut self) -> (&mut Courier, &mut Self::Machine);
    fn work(&mut self, desk: &mut Desk<'_>);
}

impl<T: Driven> Client for T {
    fn wake(&mut self, desk: &mut Desk<'_>) {
        self.work(desk);
    }

    fn answered(&mut self, desk: &mut Desk<'_>, number: u64, told: Told) {
        let Told::Frame(frame) = told else { unreachable!("it asks in frames") };
        let (courier, machine) = self.parts();
        courier.answered(machine, desk, number, frame);
        self.work(desk);
    }

    fn hung_up(&mut self, desk: &mut Desk<'_>, gone: To, was_open: bool) {
        let (courier, machine) = self.parts();
        courier.hung_up(machine, desk, gone, was_open);
        self.work(desk);
    }
}

#[derive(Debug)]
struct UnderWay {
    peer: Peer,
    api: ApiKey,
    version: i16,
}

/// Keeps the connections of one machine.
#[derive(Debug)]
pub(super) struct Courier {
    nodes: i32,
    /// The newest version of each API that the brokers serve.
    served: BTreeMap<i16, i16>,
    /// Where the open connections lead.
    lines: BTreeMap<Peer, NodeId>,
    under_way: BTreeMap<u64, UnderWay>,
    /// Answers that are there as soon as the question is.
    at_once: Vec<(RequestId, Result<Answer, Failure>)>,
}

/// The time as our client is told it.
pub(super) fn clock(micros: u64) -> Now {
    let wall_ms = super::super::BEGINNING_MS + i64::try_from(micros / 1000).unwrap_or(i64::MAX);
    Now { monotonic: Monotonic::after_origin(Duration::from_micros(micros)), wall: TimestampMs::new(wall_ms) }
}

impl Courier {
    pub(super) fn new(nodes: i32) -> Self {
        Self {
            nodes,
            served: served(),
            lines: BTreeMap::new(),
            under_way: BTreeMap::new(),
            at_once: Vec::new(),
        }
    }

    /// Steps the machine until it has nothing more to do now.
    pub(super) fn drive(&mut self, machine: &mut impl Machine, desk: &mut Desk<'_>) {
        let now = clock(desk.now);
        loop {
            let mut actions = Vec::new();
            machine.step(now, &mut actions);
            for action in actions {
                self.carry_out(machine, desk, action);
            }
            let at_once = core::mem::take(&mut self.at_once);
            if at_once.is_empty() {
                break;
            }
            for (id, answer) in at_once {
                machine.answer(now, id, answer);
            }
        }
        if let Some(due) = machine.deadline() {
            let micros = due.since_origin().as_nanos().div_ceil(1000);
            desk.acts.push(Act::Wake(u64::try_from(micros).unwrap_or(u64::MAX)));
        }
    }

    fn carry_out(&mut self, machine: &mut impl Machine, desk: &mut Desk<'_>, action: Action) {
        match action {
            Action::Disconnect(peer) => self.disconnect(desk, peer),
            Action::Send { id, peer, target, body } => {
                let to = self.line(desk, peer, &target);
                let mut is_answered = true;
                let (api, version, frame) = match body {
                    Body::Produce(send) => {
                        is_answered = send.acks() != Acks::None;
                        let (request, sealed) = send.seal();
                        machine.sealed(sealed);
                        self.frame(&request, i16::MAX)
                    }
                    other => self.write(other),
                };
                if is_answered {
                    self.under_way.insert(id.0, UnderWay { peer, api, version });
                } else {
                    // It is over when it is sent.
                    self.at_once.push((id, Ok(Answer::Produce(None))));
                }
                desk.acts.push(Act::Send(to, id.0, Question::Frame(frame)));
            }
        }
    }

    /// The connection that leads there; another one to this peer is given up.
    fn line(&mut self, desk: &mut Desk<'_>, peer: Peer, target: &Target) -> To {
        let wanted = match target {
            Target::Bootstrap { attempt } => i32::try_from(*attempt).unwrap_or(0) % self.nodes,
            Target::Broker(address) => i32::from(address.port) - i32::from(PORT),
        };
        let wanted = NodeId(wanted);
        // A connection for what anybody can tell serves wherever it leads.
        match self.lines.get(&peer) {
            Some(node) if *node == wanted || peer == Peer::Seed => return to(peer, *node),
            Some(_) => self.disconnect(desk, peer),
            None => {}
        }
        self.lines.insert(peer, wanted);
        to(peer, wanted)
    }

    fn disconnect(&mut self, desk: &mut Desk<'_>, peer: Peer) {
        if let Some(node) = self.lines.remove(&peer) {
            desk.acts.push(Act::HangUp(to(peer, node)));
            self.lose(peer, &Failure::Lost("the connection was given up".into()));
        }
    }

    /// Closes all connections.
    pub(super) fn close(&mut self, desk: &mut Desk<'_>) {
        for peer in self.lines.keys().copied().collect::<Vec<_>>() {
            self.disconnect(desk, peer);
        }
        self.at_once.clear();
    }

    fn lose(&mut self, peer: Peer, failure: &Failure) {
        let lost = self.under_way.extract_if(.., |_, under_way| under_way.peer == peer);
        self.at_once.extend(lost.map(|(id, _)| (RequestId(id), Err(failure.clone()))));
    }

    /// A connection is gone; `was_open` says whether anything can have arrived over it.
    fn hung_up(&mut self, machine: &mut impl Machine, desk: &mut Desk<'_>, gone: To, was_open: bool) {
        let found = self.lines.iter().find(|(peer, node)| to(**peer, **node) == gone);
        let Some(peer) = found.map(|(peer, _)| *peer) else { return };
        self.lines.remove(&peer);
        let why = "the broker closed the connection".into();
        self.lose(peer, &if was_open { Failure::Lost(why) } else { Failure::NotSent(why) });
        self.bring(machine, desk);
    }

    /// An answer came.
    fn answered(&mut self, machine: &mut impl Machine, desk: &mut Desk<'_>, number: u64, frame: Bytes) {
        let Some(UnderWay { api, version, .. }) = self.under_way.remove(&number) else { return };
        match read(api, version, frame) {
            Ok(answer) => self.at_once.push((RequestId(number), Ok(answer))),
            Err(error) => {
                return desk.acts.push(Act::Complain(format!("an unreadable answer of {api:?}: {error}")));
            }
        }
        self.bring(machine, desk);
    }

    fn bring(&mut self, machine: &mut impl Machine, desk: &mut Desk<'_>) {
        for (id, answer) in core::mem::take(&mut self.at_once) {
            machine.answer(clock(desk.now), id, answer);
        }
    }

    fn write(&self, body: Body) -> (ApiKey, i16, Bytes) {
        match body {
            Body::Metadata(request) => self.frame(&request, i16::MAX),
            Body::InitProducerId(request) => self.frame(&request, i16::MAX),
            Body::Fetch(request) => self.frame(&request, i16::MAX),
            Body::ListOffsets(request) => self.frame(&request, i16::MAX),
            Body::OffsetForLeaderEpoch(request) => self.frame(&request, i16::MAX),
            Body::FindCoordinator(request) => self.frame(&request, i16::MAX),
            Body::JoinGroup(request) => self.frame(&*request, i16::MAX),
            Body::SyncGroup(request) => self.frame(&*request, i16::MAX),
            Body::Heartbeat(request) => self.frame(&request, i16::MAX),
            Body::ConsumerGroupHeartbeat(request) => self.frame(&*request, i16::MAX),
            Body::LeaveGroup(request) => self.frame(&request, i16::MAX),
            Body::OffsetCommit(request) => self.frame(&request, NEWEST_BY_NAME),
            Body::OffsetFetch(request) => self.frame(&request, NEWEST_BY_NAME),
            Body::Produce(_) => unreachable!("sealed before"),
            Body::AddPartitionsToTxn(_)
            | Body::AddOffsetsToTxn(_)
            | Body::TxnOffsetCommit { .. }
            | Body::EndTxn { .. } => unreachable!("no machine here has transactions"),
        }
    }

    fn frame<R: Request>(&self, request: &R, newest: i16) -> (ApiKey, i16, Bytes) {
        let served = self.served.get(&R::KEY.number()).copied().expect("an API that brokers serve");
        let version = <R as Message>::VERSIONS.last.min(served).min(newest);
        (R::KEY, version, frame(request, version))
    }
}

/// Which of the client's connections it is.
fn to(peer: Peer, node: NodeId) -> To {
    let line = match peer {
        Peer::Node(_) => 0,
        Peer::Seed => 1,
        Peer::Coordinator => 2,
        Peer::TransactionCoordinator => 3,
    };
    To { node, line }
}

/// A request as brokers take it: without its size.
fn frame<R: Request>(request: &R, version: i16) -> Bytes {
    let segments = encode_request(request, version, 0, Some("lab")).expect("a request that can be written");
    segments.into_bytes().slice(SIZE_BYTES..)
}

/// What brokers say that they serve (KIP-35).
fn served() -> BTreeMap<i16, i16> {
    let version = ApiVersionsRequest::VERSIONS.last;
    let request =
        ApiVersionsRequest { client_software_name: "lab".into(), client_software_version: "1".into() };
    let answer = wire::decode(frame(&request, version), &TopicRules::default(), TimestampMs::new(0));
    let Ok(Incoming::Answer(segments)) = answer else { unreachable!("it is answered at once") };
    let (_, response) =
        decode_response::<ApiVersionsResponse>(segments.into_bytes().slice(SIZE_BYTES..), version)
            .expect("an answer that can be read");
    response.api_keys.iter().map(|api| (api.api_key, api.max_version)).collect()
}

fn read(api: ApiKey, version: i16, frame: Bytes) -> Result<Answer, DecodeError> {
    fn response<R: Response>(frame: Bytes, version: i16) -> Result<R, DecodeError> {
        decode_response(frame, version).map(|(_, response)| response)
    }
    Ok(match api {
        ApiKey::Metadata => Answer::Metadata(response(frame, version)?),
        ApiKey::InitProducerId => Answer::InitProducerId(response(frame, version)?),
        ApiKey::Produce => Answer::Produce(Some(response(frame, version)?)),
        ApiKey::Fetch => Answer::Fetch(response(frame, version)?),
        ApiKey::ListOffsets => Answer::ListOffsets(response(frame, version)?),
        ApiKey::OffsetForLeaderEpoch => Answer::OffsetForLeaderEpoch(response(frame, version)?),
        ApiKey::FindCoordinator => Answer::FindCoordinator(response(frame, version)?),
        ApiKey::JoinGroup => Answer::JoinGroup(response(frame, version)?),
        ApiKey::SyncGroup => Answer::SyncGroup(response(frame, version)?),
        ApiKey::Heartbeat => Answer::Heartbeat(response(frame, version)?),
        ApiKey::ConsumerGroupHeartbeat => Answer::ConsumerGroupHeartbeat(response(frame, version)?),
        ApiKey::LeaveGroup => Answer::LeaveGroup(response(frame, version)?),
        ApiKey::OffsetCommit => Answer::OffsetCommit(response(frame, version)?),
        ApiKey::OffsetFetch => Answer::OffsetFetch(response(frame, version)?),
        other => unreachable!("no machine asks {other:?}"),
    })
}
