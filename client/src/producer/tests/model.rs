//! Random histories against a model of Kafka's partition: requests and answers are lost, connections break, replicas
//! are short; the model applies the broker's rules for producers (the window of five batches, sequences, epochs).
//! Whatever happens, each acknowledged record is in the log exactly once, at the offset told, and in order.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::retry::Jitter;

/// What a broker remembers of a producer in one partition (`ProducerStateEntry`).
#[derive(Default)]
struct Window {
    epoch: i16,
    /// First sequence, last sequence, base offset.
    batches: VecDeque<(i32, i32, i64)>,
}

#[derive(Default)]
struct PartitionModel {
    log: Vec<String>,
    producers: BTreeMap<i64, Window>,
}

impl PartitionModel {
    /// Kafka's verdict on a batch: the offset it has, or the error code.
    fn append(&mut self, batch: &Received) -> Result<i64, ErrorCode> {
        let count = i32::try_from(batch.values.len()).unwrap();
        let (first, last) = (batch.sequence, batch.sequence + count - 1);
        let known = self.producers.contains_key(&batch.producer);
        let window = self.producers.entry(batch.producer).or_default();
        if !known {
            window.epoch = batch.epoch;
        }
        if window.epoch == batch.epoch {
            let same = window.batches.iter().find(|known| (known.0, known.1) == (first, last));
            if let Some((_, _, base)) = same {
                return Ok(*base);
            }
        }
        if batch.epoch < window.epoch {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        let expected = match window.batches.back() {
            Some((_, last, _)) if batch.epoch == window.epoch => last + 1,
            _ => 0,
        };
        if known && first != expected {
            return Err(ErrorCode::OutOfOrderSequenceNumber);
        }
        if batch.epoch > window.epoch {
            *window = Window { epoch: batch.epoch, batches: VecDeque::new() };
        }
        let base = i64::try_from(self.log.len()).unwrap();
        self.log.extend(batch.values.iter().cloned());
        window.batches.push_back((first, last, base));
        if window.batches.len() > 5 {
            window.batches.pop_front();
        }
        Ok(base)
    }
}

/// Runs one history; gives its trace and what became of each record.
fn history(seed: u64, records: u32, losses_percent: u64, partitions: usize) -> Vec<String> {
    let mut chance = Jitter::from_seed(seed);
    let config = ProducerConfig { batch_bytes: 150, request_timeout: Duration::from_secs(2), ..config() };
    let mut broker = Conversation::with(config, partitions, 0);
    let mut models: Vec<_> = (0..partitions).map(|_| PartitionModel::default()).collect();
    let mut fates = Fates::new();
    let mut places = Vec::new();
    let mut trace = Vec::new();
    let mut sent = 0;
    // Losses end some time, or the delivery timeout would end the records.
    while sent < records || !broker.machine.is_idle() {
        assert!(broker.now < Duration::from_secs(100), "no end in sight: {trace:#?}");
        let calm = broker.now > Duration::from_secs(60);
        if sent < records && chance.below(3) > 0 {
            let partition = i32::try_from(chance.below(partitions as u64)).unwrap();
            let appended = broker.append_to(partition, &sent.to_string());
            places.push((appended.batch.0, appended.index, partition));
            sent += 1;
            continue;
        }
        broker.step();
        let lost = |chance: &mut Jitter| !calm && chance.below(100) < losses_percent;
        // The broker takes requests of one connection in order; a connection may break in between, and then
        // loses all behind.
        let broken = lost(&mut chance);
        let requests: Vec<_> = broker.requests.drain(..).collect();
        let mut connection_lost = false;
        let mut answers = Vec::new();
        for request in requests {
            connection_lost |= broken && chance.below(2) == 0;
            if connection_lost {
                answers.push((request, None));
                continue;
            }
            let refuses = lost(&mut chance);
            let verdicts: Vec<_> = request
                .batches
                .iter()
                .map(|batch| {
                    if refuses {
                        return Err(ErrorCode::NotEnoughReplicas);
                    }
                    models[usize::try_from(batch.partition).unwrap()].append(batch)
                })
                .collect();
            connection_lost |= lost(&mut chance);
            answers.push((request, (!connection_lost).then_some(verdicts)));
        }
        for (request, verdicts) in answers {
            trace.push(format!("{:?} {request:?} -> {verdicts:?}", broker.now));
            match verdicts {
                None => broker.lose(&request),
                Some(verdicts) => give(&mut broker, &request, &verdicts),
            }
        }
        note(&mut fates, &mut broker.completions);
        let step = chance.below(15);
        broker.pass(Duration::from_millis(step));
    }
    note(&mut fates, &mut broker.completions);
    judge(&models, &places, &fates);
    trace
}

type Fates = BTreeMap<(u64, u32), Result<(i32, i64), Error>>;

fn note(fates: &mut Fates, completions: &mut Vec<Completion>) {
    for completion in completions.drain(..) {
        for record in completion.records.clone() {
            let place = i64::from(record - completion.records.start);
            let outcome = completion.outcome.clone();
            let fate = outcome.map(|receipt| {
                (receipt.at.partition, receipt.base_offset.map_or(-1, |base| base.get() + place))
            });
            let again = fates.insert((completion.batch.0, record), fate);
            assert!(again.is_none(), "record {record} of batch {} had two fates", completion.batch.0);
        }
    }
}

fn give(broker: &mut Conversation, request: &Request, verdicts: &[Result<i64, ErrorCode>]) {
    let partition = |(batch, verdict): (&Received, &Result<i64, ErrorCode>)| PartitionProduceResponse {
        index: batch.partition,
        error_code: verdict.err().unwrap_or_default(),
        base_offset: verdict.unwrap_or(-1),
        ..PartitionProduceResponse::default()
    };
    let response = ProduceResponse {
        responses: vec![TopicProduceResponse {
            // As at version 13: by id alone.
            topic_id: TOPIC_ID,
            partition_responses: request.batches.iter().zip(verdicts).map(partition).collect(),
            ..TopicProduceResponse::default()
        }],
        ..ProduceResponse::default()
    };
    broker.machine.answer(broker.now(), request.id, Ok(Answer::Produce(Some(response))));
}

fn judge(models: &[PartitionModel], places: &[(u64, u32, i32)], fates: &Fates) {
    for (number, (batch, index, partition)) in places.iter().enumerate() {
        let fate = fates.get(&(*batch, *index)).expect("every record has a fate");
        let (at, offset) = fate.as_ref().unwrap_or_else(|error| panic!("record {number}: {error}"));
        assert_eq!(at, partition);
        let log = &models[usize::try_from(*partition).unwrap()].log;
        assert_eq!(log[usize::try_from(*offset).unwrap()], number.to_string(), "at the offset told");
    }
    for model in models {
        let numbers: Vec<u32> = model.log.iter().map(|value| value.parse().unwrap()).collect();
        assert!(numbers.is_sorted_by(|one, next| one < next), "once each and in order: {numbers:?}");
    }
}

proptest! {
    #[test]
    fn every_acknowledged_record_is_stored_once_and_in_order(
        seed: u64,
        records in 1_u32..150,
        losses_percent in 0_u64..50,
        partitions in 1_usize..4,
    ) {
        history(seed, records, losses_percent, partitions);
    }
}

#[test]
fn a_seed_gives_the_same_trace() {
    assert_eq!(history(42, 80, 30, 2), history(42, 80, 30, 2));
}
