//! A cluster of one node without tokio, on a disk of the test's choice, with time as the test tells it.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use highwater::ensemble::{Ensemble, EnsembleEffects, EnsembleOptions};
use highwater::node::{ConnectionId, DiskWork, Effect, Event, OpenError, Reply, Ticket};
use highwater::wire::{self, Addresses, BadFrame, Call, Incoming, TopicRules};
use highwater::{BrokerConfig, Monotonic, NodeId, Now};
use highwater_protocol::Request;
use highwater_protocol::frame::{SIZE_BYTES, decode_response, encode_request};
use highwater_storage::disk::{Disk, MemoryDisk};
use highwater_storage::{LogError, TimestampMs};

/// When every world begins, by the wall clock: in milliseconds since 1970.
pub const BEGINNING_MS: i64 = 1_700_000_000_000;

/// An answer that came: to which request of which connection, and what.
pub type Answered = (Ticket, Call, Reply);

/// A node, its clock, and those who speak to it.
pub struct World {
    cluster: Ensemble,
    rules: TopicRules,
    elapsed_micros: u64,
    /// How far somebody has set the wall clock ahead.
    wall_ahead_ms: i64,
    asked: Vec<(Ticket, Call)>,
    next_request: u64,
    trace: String,
    /// What waits for a slow disk; none where the disk does everything at once.
    waiting: Option<VecDeque<DiskWork>>,
}

impl World {
    /// Opens a node on a disk.
    ///
    /// # Errors
    /// As [`Ensemble::open`].
    pub fn open(disk: Arc<dyn Disk>, seed: u64) -> Result<Self, OpenError> {
        Self::configured(disk, seed, BrokerConfig::default())
    }

    /// Opens a node on a disk, with settings.
    ///
    /// # Errors
    /// As [`Ensemble::open`].
    pub fn configured(disk: Arc<dyn Disk>, seed: u64, config: BrokerConfig) -> Result<Self, OpenError> {
        Self::later(disk, seed, config, 0)
    }

    /// Opens a node so long after [the beginning](BEGINNING_MS): the wall clock knows nothing of restarts.
    ///
    /// # Errors
    /// As [`Ensemble::open`].
    pub fn later(
        disk: Arc<dyn Disk>,
        seed: u64,
        config: BrokerConfig,
        elapsed_micros: u64,
    ) -> Result<Self, OpenError> {
        let config = Arc::new(config);
        let options = EnsembleOptions { nodes: 1, config, disk, folder: PathBuf::from("data"), seed };
        let mut effects = Vec::new();
        let cluster = Ensemble::open(options, now(elapsed_micros, 0), &mut effects)?;
        let mut world = Self {
            cluster,
            rules: TopicRules::default(),
            elapsed_micros,
            wall_ahead_ms: 0,
            asked: Vec::new(),
            next_request: 0,
            trace: String::new(),
            waiting: None,
        };
        let none = world.carry_out(effects, &mut VecDeque::new());
        assert!(none.is_empty(), "an answer before a question");
        Ok(world)
    }

    /// Opens a node on a disk of its own, in memory.
    pub fn in_memory(seed: u64) -> Self {
        Self::open(Arc::new(MemoryDisk::new()), seed).unwrap()
    }

    /// How long after [the beginning](BEGINNING_MS) it is.
    pub fn elapsed_micros(&self) -> u64 {
        self.elapsed_micros
    }

    /// Sets the wall clock ahead, or back; no time passes.
    pub fn set_wall_clock(&mut self, ahead_ms: i64) {
        self.wall_ahead_ms += ahead_ms;
    }

    /// What the wall clock shows.
    pub fn wall(&self) -> TimestampMs {
        self.now().wall
    }

    /// Lets time pass, and the node do what is due.
    pub fn pass(&mut self, micros: u64) -> Vec<Answered> {
        let until = self.elapsed_micros + micros;
        let (mut answered, mut served) = (Vec::new(), None);
        while let Some(due) = self.cluster.next_deadline().map(Monotonic::micros).filter(|due| *due <= until)
        {
            assert!(
                due >= self.elapsed_micros && served != Some(due),
                "a deadline that a step did not serve"
            );
            (self.elapsed_micros, served) = (due, Some(due));
            answered.extend(self.tick());
        }
        self.elapsed_micros = until;
        answered
    }

    /// Brings a frame, without its size, through the wire's decoder to the node; gives the answers that came, to
    /// whatever request.
    ///
    /// # Errors
    /// Bytes that are no request.
    pub fn receive(&mut self, connection: u64, frame: Bytes) -> Result<Vec<Answered>, BadFrame> {
        let (call, request) = match wire::decode(frame, &self.rules, self.now().wall)? {
            Incoming::Request(call, request) => (call, request),
            Incoming::Answer(_) => return Ok(Vec::new()),
        };
        let ticket = Ticket { connection: ConnectionId(connection), request: self.next_request };
        self.next_request += 1;
        self.asked.push((ticket, call));
        Ok(self.bring(Event::Request(ticket, request)))
    }

    /// Sends a request; gives the answers that came, to whatever request.
    pub fn send<R: Request>(&mut self, connection: u64, request: &R, version: i16) -> Vec<Answered> {
        let frame = encode_request(request, version, 0, Some("world")).unwrap().into_bytes();
        self.receive(connection, frame.slice(SIZE_BYTES..)).unwrap()
    }

    /// Sends a request and gives its answer, which must come at once.
    pub fn ask<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        let mut answered = self.send(0, request, version);
        let (_, call, reply) = answered.pop().expect("an answer at once");
        assert!(answered.is_empty(), "answers to others");
        decode_response(self.encode(&call, reply).unwrap(), version).unwrap().1
    }

    /// From here on the disk does what takes its time only when it is [told](Self::disk_does_one).
    pub fn slow_the_disk(&mut self) {
        self.waiting.get_or_insert_default();
    }

    /// The disk does the first thing that waits for it; gives the answers that this brought. `None` if nothing waits.
    pub fn disk_does_one(&mut self) -> Option<(bool, Vec<Answered>)> {
        let work = self.waiting.as_mut()?.pop_front()?;
        let is_sync = matches!(work, DiskWork::Sync { .. });
        Some((is_sync, work.run().map_or_else(Vec::new, |event| self.bring(event))))
    }

    /// A connection is gone.
    pub fn disconnect(&mut self, connection: u64) -> Vec<Answered> {
        self.bring(Event::Disconnected(ConnectionId(connection)))
    }

    /// The frame of an answer, without its size; none where nothing is sent.
    pub fn encode(&self, call: &Call, reply: Reply) -> Option<Bytes> {
        let mut frame = wire::encode(call, reply, &Addresses::new(Vec::new())).unwrap()?.into_bytes();
        frame.advance(SIZE_BYTES);
        Some(frame)
    }

    /// Every effect so far, as text.
    pub fn trace(&self) -> &str {
        &self.trace
    }

    /// Ends the node in good order.
    ///
    /// # Errors
    /// As [`Ensemble::close`].
    pub fn close(self) -> Result<(), LogError> {
        self.cluster.close()
    }

    fn now(&self) -> Now {
        now(self.elapsed_micros, self.wall_ahead_ms)
    }

    fn bring(&mut self, event: Event) -> Vec<Answered> {
        let (mut events, mut answered) = (VecDeque::from([event]), Vec::new());
        while let Some(event) = events.pop_front() {
            let mut effects = Vec::new();
            self.cluster.step(self.now(), NodeId(0), event, &mut effects);
            answered.extend(self.carry_out(effects, &mut events));
        }
        answered
    }

    fn tick(&mut self) -> Vec<Answered> {
        let (mut effects, mut events) = (Vec::new(), VecDeque::new());
        self.cluster.tick(self.now(), &mut effects);
        let mut answered = self.carry_out(effects, &mut events);
        events.into_iter().for_each(|event| answered.extend(self.bring(event)));
        answered
    }

    fn carry_out(&mut self, effects: EnsembleEffects, events: &mut VecDeque<Event>) -> Vec<Answered> {
        let mut answered = Vec::new();
        for (whose, effect) in effects {
            writeln!(self.trace, "{} {whose:?} {effect:?}", self.elapsed_micros).unwrap();
            match effect {
                Effect::Reply(ticket, reply) => {
                    let place = self.asked.iter().position(|(asked, _)| *asked == ticket);
                    let (_, call) = self.asked.remove(place.expect("one answer to each request"));
                    answered.push((ticket, call, reply));
                }
                Effect::Continue(ticket, progress) => events.push_back(Event::Continue(ticket, progress)),
                Effect::Close(connection, _) => {
                    self.asked.retain(|(asked, _)| asked.connection != connection);
                    events.push_back(Event::Disconnected(connection));
                }
                Effect::TopicOpened { id, name, config } => self.rules.open(id, name, &config),
                Effect::TopicClosed { id, name } => self.rules.close(id, &name),
                // Nothing here is set anew while it runs, and links are the ensemble's.
                Effect::Configured(_) | Effect::Send(..) => {}
                Effect::Disk(work) => match &mut self.waiting {
                    Some(waiting) => waiting.push_back(work),
                    None => events.extend(work.run()),
                },
            }
        }
        answered
    }
}

fn now(elapsed_micros: u64, wall_ahead_ms: i64) -> Now {
    let elapsed_ms = i64::try_from(elapsed_micros / 1000).unwrap();
    Now {
        monotonic: Monotonic::from_micros(elapsed_micros),
        wall: TimestampMs::new(BEGINNING_MS + elapsed_ms + wall_ahead_ms),
    }
}
