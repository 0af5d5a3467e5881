//! A cluster of one coordinator, one group and some partitions, by Kafka's rules for transactions.

use highwater_protocol::messages::txn_offset_commit::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use highwater_protocol::messages::{
    AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest,
    TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};
use highwater_storage::batch::RecordIter;

use super::*;

const PRODUCER: i64 = 7;

/// The group's offsets are one more partition of a transaction.
const OFFSETS: usize = usize::MAX;

/// What read_committed readers see.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Visible {
    partitions: Vec<Vec<String>>,
    pub(super) offset: Option<i64>,
}

impl Visible {
    pub(super) fn new(partitions: usize) -> Self {
        Self { partitions: vec![Vec::new(); partitions], offset: None }
    }

    pub(super) fn push(&mut self, partition: usize, value: String) {
        self.partitions[partition].push(value);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Empty,
    Ongoing,
    Prepared { commit: bool },
    Complete { commit: bool },
}

#[derive(Default)]
struct Partition {
    visible: Vec<String>,
    /// Of the open transaction.
    open: Vec<String>,
    /// The epoch of the open transaction.
    open_epoch: Option<i16>,
    epoch: i16,
    /// First and last sequence of the last five batches.
    window: VecDeque<(i32, i32)>,
}

pub(super) struct Brokers {
    is_v2: bool,
    state: State,
    epoch: i16,
    last_epoch: i16,
    added: std::collections::BTreeSet<usize>,
    partitions: Vec<Partition>,
    offset: Option<i64>,
    pending: Option<(i16, i64)>,
}

impl Brokers {
    pub(super) fn new(level: i16, partitions: usize) -> Self {
        Self {
            is_v2: level >= 2,
            state: State::Empty,
            epoch: -1,
            last_epoch: -1,
            added: std::collections::BTreeSet::new(),
            partitions: (0..partitions).map(|_| Partition { epoch: -1, ..Partition::default() }).collect(),
            offset: None,
            pending: None,
        }
    }

    /// Whether stragglers do no harm.
    pub(super) fn is_guarded(&self) -> bool {
        self.is_v2
    }

    pub(super) fn is_settled(&self) -> bool {
        matches!(self.state, State::Empty | State::Complete { .. })
            && self.partitions.iter().all(|partition| partition.open_epoch.is_none())
            && self.pending.is_none()
    }

    pub(super) fn visible(&self) -> Visible {
        let partitions = self.partitions.iter().map(|partition| partition.visible.clone()).collect();
        Visible { partitions, offset: self.offset }
    }

    /// The next marker of a prepared transaction; with the last it is complete.
    pub(super) fn write_a_marker(&mut self) {
        let State::Prepared { commit } = self.state else { return };
        match self.added.pop_first() {
            Some(OFFSETS) => {
                if let Some((_, offset)) = self.pending.take().filter(|_| commit) {
                    self.offset = Some(offset);
                }
            }
            Some(index) => {
                let partition = &mut self.partitions[index];
                let records = std::mem::take(&mut partition.open);
                partition.open_epoch = None;
                if commit {
                    partition.visible.extend(records);
                }
                if self.epoch > partition.epoch {
                    partition.epoch = self.epoch;
                    partition.window.clear();
                }
            }
            None => {}
        }
        if self.added.is_empty() {
            self.state = State::Complete { commit };
        }
    }

    pub(super) fn write_all_markers(&mut self) {
        while matches!(self.state, State::Prepared { .. }) {
            self.write_a_marker();
        }
    }

    pub(super) fn take(&mut self, body: &AskedBody, chance: &mut Jitter, refusals_percent: u64) -> Answer {
        let refused = chance.below(100) < refusals_percent / 2;
        match body {
            AskedBody::Produce { request, newest } => {
                assert_eq!(*newest >= 12, self.is_v2);
                self.produce(request, refused)
            }
            AskedBody::Other(Body::Metadata(_)) => Answer::Metadata(metadata()),
            AskedBody::Other(Body::FindCoordinator(request)) => {
                let found = Coordinator {
                    key: request.coordinator_keys[0].clone(),
                    host: "host".into(),
                    port: 9092,
                    error_code: if refused { ErrorCode::CoordinatorNotAvailable } else { ErrorCode::None },
                    ..Coordinator::default()
                };
                Answer::FindCoordinator(FindCoordinatorResponse {
                    coordinators: vec![found],
                    ..FindCoordinatorResponse::default()
                })
            }
            AskedBody::Other(body) => {
                let moved = if chance.below(2) == 0 {
                    ErrorCode::NotCoordinator
                } else {
                    ErrorCode::CoordinatorLoadInProgress
                };
                self.coordinate(body, refused.then_some(moved))
            }
        }
    }

    fn coordinate(&mut self, body: &Body, refused: Option<ErrorCode>) -> Answer {
        match body {
            Body::InitProducerId(request) => {
                let code = refused.unwrap_or_else(|| self.init(request));
                Answer::InitProducerId(InitProducerIdResponse {
                    error_code: code,
                    producer_id: if code.is_none() { PRODUCER } else { -1 },
                    producer_epoch: self.epoch,
                    ..InitProducerIdResponse::default()
                })
            }
            Body::AddPartitionsToTxn(request) => self.add_partitions(request, refused),
            Body::AddOffsetsToTxn(request) => {
                let error_code = refused.unwrap_or_else(|| self.add(OFFSETS, request.producer_epoch));
                Answer::AddOffsetsToTxn(AddOffsetsToTxnResponse {
                    error_code,
                    ..AddOffsetsToTxnResponse::default()
                })
            }
            Body::TxnOffsetCommit { request, newest } => {
                assert_eq!(*newest >= 5, self.is_v2);
                self.commit_offsets(request, refused)
            }
            Body::EndTxn { request, newest } => {
                assert_eq!(*newest >= 5, self.is_v2);
                let code = refused.unwrap_or_else(|| self.end(request));
                let next = if code.is_none() && self.is_v2 { (PRODUCER, self.epoch) } else { (-1, -1) };
                Answer::EndTxn(EndTxnResponse {
                    error_code: code,
                    producer_id: next.0,
                    producer_epoch: next.1,
                    ..EndTxnResponse::default()
                })
            }
            other => panic!("unexpected: {other:?}"),
        }
    }

    fn init(&mut self, request: &InitProducerIdRequest) -> ErrorCode {
        match self.state {
            State::Prepared { .. } => return ErrorCode::ConcurrentTransactions,
            State::Ongoing => {
                self.last_epoch = -1;
                self.epoch += 1;
                self.state = State::Prepared { commit: false };
                return ErrorCode::ConcurrentTransactions;
            }
            State::Empty | State::Complete { .. } => {}
        }
        if request.producer_epoch < 0 {
            (self.last_epoch, self.epoch) = (-1, self.epoch + 1);
        } else if request.producer_epoch == self.epoch {
            (self.last_epoch, self.epoch) = (self.epoch, self.epoch + 1);
        } else if request.producer_epoch != self.last_epoch {
            return ErrorCode::ProducerFenced;
        }
        self.state = State::Empty;
        ErrorCode::None
    }

    fn add(&mut self, partition: usize, epoch: i16) -> ErrorCode {
        if epoch != self.epoch {
            return ErrorCode::ProducerFenced;
        }
        if matches!(self.state, State::Prepared { .. }) {
            return ErrorCode::ConcurrentTransactions;
        }
        self.state = State::Ongoing;
        self.added.insert(partition);
        ErrorCode::None
    }

    fn add_partitions(&mut self, request: &AddPartitionsToTxnRequest, refused: Option<ErrorCode>) -> Answer {
        assert!(!self.is_v2);
        let asked = request.v3_and_below_topics.iter().flat_map(|topic| &topic.partitions);
        let codes = asked.map(|partition| {
            let add = || self.add(usize::try_from(*partition).unwrap(), request.v3_and_below_producer_epoch);
            AddPartitionsToTxnPartitionResult {
                partition_index: *partition,
                partition_error_code: refused.unwrap_or_else(add),
            }
        });
        let results_by_partition = codes.collect();
        Answer::AddPartitionsToTxn(AddPartitionsToTxnResponse {
            results_by_topic_v3_and_below: vec![AddPartitionsToTxnTopicResult {
                name: TOPIC.into(),
                results_by_partition,
            }],
            ..AddPartitionsToTxnResponse::default()
        })
    }

    fn commit_offsets(&mut self, request: &TxnOffsetCommitRequest, refused: Option<ErrorCode>) -> Answer {
        let epoch = request.producer_epoch;
        let code = refused.unwrap_or_else(|| match self.is_v2 {
            true => self.add(OFFSETS, epoch),
            false if self.state == State::Ongoing && self.added.contains(&OFFSETS) => ErrorCode::None,
            false => ErrorCode::InvalidTxnState,
        });
        let topic = &request.topics[0];
        if code.is_none() {
            self.pending = Some((epoch, topic.partitions[0].committed_offset));
        }
        let one = TxnOffsetCommitResponsePartition { partition_index: 0, error_code: code };
        Answer::TxnOffsetCommit(TxnOffsetCommitResponse {
            topics: vec![TxnOffsetCommitResponseTopic { name: topic.name.clone(), partitions: vec![one] }],
            ..TxnOffsetCommitResponse::default()
        })
    }

    fn end(&mut self, request: &EndTxnRequest) -> ErrorCode {
        let commit = request.committed;
        if !self.is_v2 {
            if request.producer_epoch != self.epoch {
                return ErrorCode::ProducerFenced;
            }
            return match self.state {
                State::Ongoing => {
                    self.state = State::Prepared { commit };
                    ErrorCode::None
                }
                State::Prepared { .. } => ErrorCode::ConcurrentTransactions,
                State::Complete { commit: other } if other == commit => ErrorCode::None,
                _ => ErrorCode::InvalidTxnState,
            };
        }
        let is_retry = request.producer_epoch + 1 == self.epoch;
        let is_current = request.producer_epoch == self.epoch;
        match self.state {
            State::Ongoing if is_current => {}
            State::Empty | State::Complete { .. } if is_current && !commit => {}
            // Its completion is pending, and that comes before all else.
            State::Prepared { .. } => return ErrorCode::ConcurrentTransactions,
            State::Complete { commit: other } if is_retry => {
                return if other == commit { ErrorCode::None } else { ErrorCode::InvalidTxnState };
            }
            _ if is_current => return ErrorCode::InvalidTxnState,
            _ => return ErrorCode::ProducerFenced,
        }
        (self.last_epoch, self.epoch) = (self.epoch, self.epoch + 1);
        self.state =
            if self.added.is_empty() { State::Complete { commit } } else { State::Prepared { commit } };
        ErrorCode::None
    }

    fn produce(&mut self, request: &ProduceRequest, refused: bool) -> Answer {
        let mut answered = Vec::new();
        for data in request.topic_data.iter().flat_map(|topic| &topic.partition_data) {
            let records = RecordIter::new(data.records.clone().unwrap()).unwrap();
            let header = records.header().clone();
            assert!(header.attributes.is_transactional());
            let values: Vec<String> = records
                .map(|record| String::from_utf8(record.unwrap().value.unwrap().to_vec()).unwrap())
                .collect();
            let first = header.base_sequence.get();
            let last = first + i32::try_from(values.len()).unwrap() - 1;
            let code = match refused {
                true => ErrorCode::NotEnoughReplicas,
                false => self.append(
                    usize::try_from(data.index).unwrap(),
                    header.producer_epoch.get(),
                    (first, last),
                    values,
                ),
            };
            answered.push(PartitionProduceResponse {
                index: data.index,
                error_code: code,
                base_offset: 0,
                ..PartitionProduceResponse::default()
            });
        }
        Answer::Produce(Some(ProduceResponse {
            responses: vec![TopicProduceResponse {
                name: TOPIC.into(),
                partition_responses: answered,
                ..TopicProduceResponse::default()
            }],
            ..ProduceResponse::default()
        }))
    }

    fn append(&mut self, index: usize, epoch: i16, sequences: (i32, i32), values: Vec<String>) -> ErrorCode {
        let partition = &self.partitions[index];
        if partition.epoch == epoch && partition.window.contains(&sequences) {
            return ErrorCode::None;
        }
        if epoch < partition.epoch {
            return ErrorCode::InvalidProducerEpoch;
        }
        if partition.open_epoch != Some(epoch) {
            let code = match self.is_v2 {
                true => self.add(index, epoch),
                false if epoch != self.epoch => ErrorCode::InvalidProducerEpoch,
                false if self.state == State::Ongoing && self.added.contains(&index) => ErrorCode::None,
                false => ErrorCode::InvalidTxnState,
            };
            match code {
                ErrorCode::None => {}
                ErrorCode::ProducerFenced => return ErrorCode::InvalidProducerEpoch,
                code => return code,
            }
        }
        let partition = &mut self.partitions[index];
        let expected = match partition.window.back() {
            Some((_, last)) if epoch == partition.epoch => last + 1,
            _ => 0,
        };
        if sequences.0 != expected {
            return ErrorCode::OutOfOrderSequenceNumber;
        }
        if epoch > partition.epoch {
            partition.epoch = epoch;
            partition.window.clear();
        }
        partition.window.push_back(sequences);
        if partition.window.len() > 5 {
            partition.window.pop_front();
        }
        partition.open_epoch = Some(epoch);
        partition.open.extend(values);
        ErrorCode::None
    }
}
