//! The tokio driver of the machines: it carries requests, answers and time, and decides nothing.
//!
//! One task per machine. It steps the machine, carries out what that wants, and sleeps until an answer comes, a
//! deadline passes or somebody who handed the machine something wakes it. The machine sits behind a mutex that is
//! never held across an await, nor while a batch is encoded.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use highwater_protocol::ApiKey;
use highwater_protocol::messages::{
    ConsumerGroupHeartbeatRequest, FetchRequest, ProduceRequest, TxnOffsetCommitRequest,
};
use highwater_storage::TimestampMs;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use crate::connection::Connection;
use crate::dialect;
use crate::exchange::{Action, Answer, Body, Failure, Offers, Peer, RequestId};
use crate::producer::{Acks, SealedBatch};
use crate::time::{Monotonic, Now};
use crate::transport::Transport;
use crate::transport::embedded::Target;

/// Answers taken in between two steps of the machine.
const MAX_EVENTS_A_TURN: usize = 64;

/// The first Fetch version in which the last fetched epoch can be told.
const FETCH_WITH_EPOCH: i16 = 12;

/// The first ConsumerGroupHeartbeat version that can subscribe to a pattern.
const HEARTBEAT_WITH_PATTERN: i16 = 1;

/// The first TxnOffsetCommit version that says which member of the group commits, so that a former one is refused (KIP-447).
const TXN_OFFSET_COMMIT_WITH_MEMBER: i16 = 3;

/// What the driver needs of a machine.
pub(crate) trait Machine: Send + 'static {
    fn step(&mut self, now: Now, actions: &mut Vec<Action>);
    fn deadline(&self) -> Option<Monotonic>;
    fn answer(&mut self, now: Now, id: RequestId, answer: Result<Answer, Failure>);
    /// Hears what a broker offers, when a connection to it has been opened.
    fn met(&mut self, _peer: Peer, _offers: &Offers) {}
    /// Whether the last step, of itself, changed something for those who wait: told once.
    fn has_news(&mut self) -> bool {
        false
    }
    /// Whether nothing is left to be done, although nobody has said that the driver is to end.
    fn is_over(&self) -> bool {
        false
    }
    /// Takes encoded batches back; only a producer lends any.
    fn sealed(&mut self, batches: Vec<SealedBatch>);
    /// Tells those who wait what came of it. Called after each step, under the lock.
    fn settle(&mut self);
}

/// A machine, and what connects it with those who use it.
pub(crate) struct Shared<M> {
    pub(crate) machine: Mutex<M>,
    /// Wakes the driver.
    pub(crate) wake: Notify,
    /// Wakes those who wait for something to change.
    pub(crate) changed: Notify,
    pub(crate) clock: Clock,
}

impl<M> Shared<M> {
    pub(crate) fn new(machine: M) -> Self {
        Self {
            machine: Mutex::new(machine),
            wake: Notify::new(),
            changed: Notify::new(),
            clock: Clock::new(),
        }
    }
}

/// The two clocks.
///
/// A producer reads the time for every record, so that must cost one reading, not two: wall time is taken from the
/// monotonic clock and the difference between both, which the driver looks at afresh each turn.
#[derive(Debug)]
pub(crate) struct Clock {
    origin: Instant,
    wall_ms_at_origin: AtomicI64,
}

impl Clock {
    fn new() -> Self {
        let clock = Self { origin: Instant::now(), wall_ms_at_origin: AtomicI64::new(0) };
        clock.set();
        clock
    }

    /// Follows the wall clock, which may be stepped or slewed.
    fn set(&self) {
        let wall = as_ms(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
        self.wall_ms_at_origin.store(wall - as_ms(self.origin.elapsed()), Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> Now {
        let elapsed = self.origin.elapsed();
        let wall = self.wall_ms_at_origin.load(Ordering::Relaxed).saturating_add(as_ms(elapsed));
        Now { monotonic: Monotonic::after_origin(elapsed), wall: TimestampMs::new(wall) }
    }

    fn instant(&self, at: Monotonic) -> tokio::time::Instant {
        // A deadline too far to be expressed is as good as none.
        const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
        tokio::time::Instant::from_std(self.origin + at.since_origin().min(self.origin.elapsed() + FAR))
    }
}

fn as_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Runs a machine until it is over or the task is aborted.
pub(crate) async fn drive<M: Machine>(shared: Arc<Shared<M>>, courier: CourierConfig) {
    let (events_in, mut events) = mpsc::unbounded_channel();
    let mut courier = Courier { config: courier, events: events_in, lines: BTreeMap::new(), attempts: 0 };
    let mut actions = Vec::new();
    // Those who wait are told when an answer or a deadline may have changed something for them, or the machine says so; not
    // whenever one of them woke us: they would wake us again.
    let mut has_news = true;
    loop {
        shared.clock.set();
        let (deadline, is_over) = {
            let mut machine = shared.machine.lock();
            machine.step(shared.clock.now(), &mut actions);
            machine.settle();
            has_news |= machine.has_news();
            (machine.deadline(), machine.is_over())
        };
        if has_news {
            shared.changed.notify_waiters();
        }
        if is_over {
            return;
        }
        for action in actions.drain(..) {
            carry_out(&shared, &mut courier, action);
        }
        let sleep = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(shared.clock.instant(at)).await,
                None => std::future::pending().await,
            }
        };
        has_news = tokio::select! {
            event = events.recv() => {
                let mut next = event;
                let mut taken = 0;
                while let Some(event) = next {
                    take_event(&shared, &mut courier, event);
                    taken += 1;
                    next = if taken < MAX_EVENTS_A_TURN { events.try_recv().ok() } else { None };
                }
                true
            }
            () = shared.wake.notified() => false,
            () = sleep => true,
        };
    }
}

fn carry_out<M: Machine>(shared: &Shared<M>, courier: &mut Courier, action: Action) {
    match action {
        Action::Disconnect(peer) => courier.disconnect(peer),
        Action::Send { id, peer, target, body } => {
            let parcel = match body {
                Body::Produce(send) => {
                    let (acks, newest) = (send.acks(), send.newest());
                    let (request, sealed) = send.seal();
                    shared.machine.lock().sealed(sealed);
                    Parcel::Produce { acks, newest, request }
                }
                other => Parcel::Plain(other),
            };
            courier.send(id, peer, &target, parcel);
        }
    }
}

fn take_event<M: Machine>(shared: &Shared<M>, courier: &mut Courier, event: Event) {
    match event {
        Event::Answered(id, answer) => shared.machine.lock().answer(shared.clock.now(), id, answer),
        Event::Opened { peer, attempt, connection } => {
            if let Ok(connection) = &connection {
                shared.machine.lock().met(peer, connection.offers());
            }
            courier.opened(peer, attempt, connection);
        }
    }
}

/// How connections are made.
#[derive(Clone)]
pub(crate) struct CourierConfig {
    pub(crate) transport: Transport,
    pub(crate) client_id: Arc<str>,
    pub(crate) connect_timeout: Duration,
}

enum Event {
    Answered(RequestId, Result<Answer, Failure>),
    Opened { peer: Peer, attempt: u64, connection: Result<Connection, Failure> },
}

/// A request ready for the wire.
enum Parcel {
    Produce {
        acks: Acks,
        /// The newest version it may be sent in.
        newest: i16,
        request: ProduceRequest,
    },
    Plain(Body),
}

enum Line {
    Opening { attempt: u64, target: Target, queue: Vec<(RequestId, Parcel)> },
    Open { target: Target, connection: Connection },
}

/// Keeps the machine's connections.
struct Courier {
    config: CourierConfig,
    events: mpsc::UnboundedSender<Event>,
    lines: BTreeMap<Peer, Line>,
    attempts: u64,
}

impl Courier {
    fn send(&mut self, id: RequestId, peer: Peer, target: &Target, parcel: Parcel) {
        // A seed's connection serves wherever it leads; a node's must lead to where the node is now.
        let leads_there = |known: &Target| peer == Peer::Seed || known == target;
        match self.lines.get_mut(&peer) {
            Some(Line::Open { target, connection }) if leads_there(target) && !connection.is_broken() => {
                deliver(&self.events, connection, id, parcel);
            }
            Some(Line::Opening { target, queue, .. }) if leads_there(target) => queue.push((id, parcel)),
            _ => {
                self.disconnect(peer);
                self.open(peer, target.clone(), vec![(id, parcel)]);
            }
        }
    }

    fn open(&mut self, peer: Peer, target: Target, queue: Vec<(RequestId, Parcel)>) {
        self.attempts += 1;
        let attempt = self.attempts;
        let (config, events, to) = (self.config.clone(), self.events.clone(), target.clone());
        self.lines.insert(peer, Line::Opening { attempt, target, queue });
        tokio::spawn(async move {
            let opening = Connection::open(&config.transport, &to, config.client_id, config.connect_timeout);
            let connection = opening.await.map_err(|failure| {
                Failure::NotSent(format!("{}: {failure}", config.transport.describe(&to)).into())
            });
            // Nobody listens any more once the machine is gone.
            let _ = events.send(Event::Opened { peer, attempt, connection });
        });
    }

    fn opened(&mut self, peer: Peer, attempt: u64, connection: Result<Connection, Failure>) {
        // What was opened may have been given up meanwhile.
        match self.lines.get(&peer) {
            Some(Line::Opening { attempt: current, .. }) if *current == attempt => {}
            _ => return,
        }
        let Some(Line::Opening { target, queue, .. }) = self.lines.remove(&peer) else { return };
        match connection {
            Ok(connection) => {
                for (id, parcel) in queue {
                    deliver(&self.events, &connection, id, parcel);
                }
                self.lines.insert(peer, Line::Open { target, connection });
            }
            Err(failure) => self.fail(queue, &failure),
        }
    }

    fn disconnect(&mut self, peer: Peer) {
        if let Some(Line::Opening { queue, .. }) = self.lines.remove(&peer) {
            self.fail(queue, &Failure::NotSent("the connection was given up".into()));
        }
    }

    fn fail(&self, queue: Vec<(RequestId, Parcel)>, failure: &Failure) {
        for (id, _) in queue {
            let _ = self.events.send(Event::Answered(id, Err(failure.clone())));
        }
    }
}

fn deliver(events: &mpsc::UnboundedSender<Event>, connection: &Connection, id: RequestId, parcel: Parcel) {
    macro_rules! send {
        ($request:expr, $answer:expr) => {{
            let events = events.clone();
            connection.send($request, move |response| {
                let _ = events.send(Event::Answered(id, response.map($answer)));
            });
        }};
    }
    macro_rules! send_up_to {
        ($request:expr, $newest:expr, $answer:expr) => {{
            let events = events.clone();
            connection.send_up_to($request, $newest, move |response| {
                let _ = events.send(Event::Answered(id, response.map($answer)));
            });
        }};
    }
    macro_rules! speak {
        ($request:expr, $answer:expr) => {{
            let events = events.clone();
            dialect::send(connection, $request, move |response| {
                let _ = events.send(Event::Answered(id, response.map($answer)));
            });
        }};
    }
    match parcel {
        Parcel::Produce { acks: Acks::None, request, .. } => {
            let events = events.clone();
            connection.send_unanswered(&request, move |written| {
                let _ = events.send(Event::Answered(id, written.map(|()| Answer::Produce(None))));
            });
        }
        Parcel::Produce { newest, request, .. } => {
            send_up_to!(&request, newest, |response| Answer::Produce(Some(response)));
        }
        Parcel::Plain(Body::Metadata(request)) => send!(&request, Answer::Metadata),
        Parcel::Plain(Body::InitProducerId(request)) => send!(&request, Answer::InitProducerId),
        Parcel::Plain(Body::ListOffsets(request)) => send!(&request, Answer::ListOffsets),
        Parcel::Plain(Body::Fetch(mut request)) => {
            if connection.version_of::<FetchRequest>().is_some_and(|version| version < FETCH_WITH_EPOCH) {
                let partitions = request.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
                partitions.for_each(|partition| partition.last_fetched_epoch = -1);
            }
            send!(&request, Answer::Fetch);
        }
        Parcel::Plain(Body::OffsetForLeaderEpoch(request)) => send!(&request, Answer::OffsetForLeaderEpoch),
        Parcel::Plain(Body::JoinGroup(request)) => send!(&*request, Answer::JoinGroup),
        Parcel::Plain(Body::SyncGroup(request)) => send!(&*request, Answer::SyncGroup),
        Parcel::Plain(Body::Heartbeat(request)) => send!(&request, Answer::Heartbeat),
        Parcel::Plain(Body::ConsumerGroupHeartbeat(mut request)) => {
            let version = connection.version_of::<ConsumerGroupHeartbeatRequest>();
            let knows_none = version.is_some_and(|version| version < HEARTBEAT_WITH_PATTERN);
            // Who knows no patterns has none to be taken back.
            if knows_none && request.subscribed_topic_regex.as_ref().is_some_and(|pattern| pattern.is_empty())
            {
                request.subscribed_topic_regex = None;
            }
            if knows_none && request.subscribed_topic_regex.is_some() {
                let what = format!(
                    "{} {HEARTBEAT_WITH_PATTERN}, by which one subscribes to a pattern",
                    ApiKey::ConsumerGroupHeartbeat.name()
                );
                let _ = events.send(Event::Answered(id, Err(Failure::Unsupported(what.into()))));
                return;
            }
            send!(&*request, Answer::ConsumerGroupHeartbeat);
        }
        Parcel::Plain(Body::FindCoordinator(request)) => speak!(request, Answer::FindCoordinator),
        Parcel::Plain(Body::LeaveGroup(request)) => speak!(request, Answer::LeaveGroup),
        Parcel::Plain(Body::OffsetCommit(request)) => speak!(request, Answer::OffsetCommit),
        Parcel::Plain(Body::OffsetFetch(request)) => speak!(request, Answer::OffsetFetch),
        Parcel::Plain(Body::AddPartitionsToTxn(request)) => {
            // From version 4 on it is the brokers' own.
            send_up_to!(&request, 3, Answer::AddPartitionsToTxn);
        }
        Parcel::Plain(Body::AddOffsetsToTxn(request)) => send!(&request, Answer::AddOffsetsToTxn),
        Parcel::Plain(Body::TxnOffsetCommit { request, newest }) => {
            let version = connection.version_of::<TxnOffsetCommitRequest>();
            if version.is_some_and(|version| version < TXN_OFFSET_COMMIT_WITH_MEMBER) {
                let what = format!(
                    "{} {TXN_OFFSET_COMMIT_WITH_MEMBER}, which says who commits",
                    ApiKey::TxnOffsetCommit.name()
                );
                let _ = events.send(Event::Answered(id, Err(Failure::Unsupported(what.into()))));
                return;
            }
            send_up_to!(&*request, newest, Answer::TxnOffsetCommit);
        }
        Parcel::Plain(Body::EndTxn { request, newest }) => send_up_to!(&request, newest, Answer::EndTxn),
        Parcel::Plain(Body::Produce(_)) => unreachable!("sealed before"),
    }
}
