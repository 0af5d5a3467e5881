//! One rule at a time.

use super::*;

#[test]
fn records_linger_until_time_or_size_sends_them() {
    let linger = Duration::from_millis(5);
    let mut broker = Conversation::new(ProducerConfig { linger, batch_bytes: 300, ..config() });
    broker.append("a");
    broker.append("b");
    broker.step();
    broker.assert_silent();
    assert!(broker.machine.deadline().unwrap() <= Monotonic::after_origin(linger));
    broker.pass(linger);
    let request = broker.request();
    assert_eq!(request.only().values, ["a", "b"]);
    broker.accept(&request, 10);
    assert_eq!(broker.fates().len(), 1);

    let large = "x".repeat(200);
    broker.append(&large);
    broker.append(&large);
    broker.step();
    assert_eq!(broker.request().only().values, [large.as_str()], "a full batch does not linger");
    broker.assert_silent();
    broker.machine.flush();
    broker.step();
    assert_eq!(broker.request().only().values, [large.as_str()], "nor does a flushed one");
}

#[test]
fn five_requests_are_in_flight_and_batches_fill_meanwhile() {
    let mut broker = Conversation::known(config());
    let requests: Vec<_> = (0..5).map(|n| broker.send_one(&n.to_string())).collect();
    let sequences: Vec<_> = requests.iter().map(Request::stamp).collect();
    assert_eq!(sequences, [1, 2, 3, 4, 5].map(|sequence| (100, 0, sequence)));
    broker.append("5");
    broker.append("6");
    broker.step();
    broker.assert_silent();
    broker.accept(&requests[0], 0);
    let sixth = broker.request();
    assert_eq!(
        (sixth.stamp(), sixth.only().values.as_slice()),
        ((100, 0, 6), &["5".to_owned(), "6".to_owned()][..])
    );
}

#[test]
fn a_batch_is_finished_once_also_while_nothing_can_leave() {
    let mut broker = Conversation::known(ProducerConfig { batch_bytes: 1000, ..config() });
    let in_flight: Vec<_> = (0..5).map(|n| broker.send_one(&n.to_string())).collect();
    let value = "x".repeat(100);
    let appended: Vec<_> = (0..50).map(|_| broker.append(&value)).collect();
    let begun = appended.iter().filter(|record| record.began_batch()).count();
    let finished = appended.iter().filter(|record| record.finished_batch()).count();
    // By its last record, and by the one that begins another behind it.
    assert!(begun > 3 && (begun - 1..=2 * begun).contains(&finished), "{finished} times for {begun} batches");
    broker.assert_silent();
    assert_eq!(in_flight.len(), 5);
}

#[test]
fn until_the_broker_knows_the_producer_one_batch_is_in_flight() {
    let mut broker = Conversation::new(config());
    let first = broker.send_one("1");
    broker.append("2");
    broker.step();
    broker.assert_silent();
    broker.accept(&first, 0);
    assert_eq!(broker.request().stamp(), (100, 0, 1));
}

#[test]
fn one_request_carries_the_batches_of_one_leader() {
    let mut broker = Conversation::with(config(), 3, 0);
    broker.leaders[2] = 1;
    broker.machine.metadata.suspect();
    broker.back_off();
    for partition in 0..3 {
        broker.append_to(partition, "v");
    }
    broker.step();
    let (one, other) = (broker.request(), broker.request());
    broker.assert_silent();
    let partitions = |request: &Request| {
        let mut all: Vec<_> = request.batches.iter().map(|batch| batch.partition).collect();
        all.sort_unstable();
        (request.node, all)
    };
    assert_eq!((partitions(&one), partitions(&other)), ((NodeId(0), vec![0, 1]), (NodeId(1), vec![2])));
}

#[test]
fn after_a_loss_batches_are_resent_in_order_one_by_one_with_their_sequences() {
    let mut broker = Conversation::known(config());
    let requests: Vec<_> = (0..4).map(|n| broker.send_one(&n.to_string())).collect();
    requests.iter().for_each(|request| broker.lose(request));
    broker.append("new");
    for (n, before) in requests.iter().enumerate() {
        broker.back_off();
        let again = broker.request();
        assert_eq!(again.batches, before.batches, "the same batch with the same sequence");
        if n < 3 {
            broker.assert_silent();
        }
        broker.accept(&again, i64::try_from(n).unwrap());
    }
    assert_eq!(broker.request().stamp(), (100, 0, 5), "what is new comes last");
    let offsets: Vec<_> = broker.fates().into_iter().map(|(_, _, offset)| offset.unwrap()).collect();
    assert_eq!(offsets, [Some(0), Some(1), Some(2), Some(3)]);
}

#[test]
fn a_duplicate_counts_as_stored_without_an_offset() {
    let mut broker = Conversation::known(config());
    let request = broker.send_one("a");
    broker.answer(&request, ErrorCode::DuplicateSequenceNumber, -1);
    assert!(matches!(broker.fates().as_slice(), [(_, _, Ok(None))]));
    assert!(broker.machine.is_idle());
}

#[test]
fn out_of_order_behind_a_retry_waits_for_it() {
    let mut broker = Conversation::known(config());
    let (first, second) = (broker.send_one("1"), broker.send_one("2"));
    broker.answer(&first, ErrorCode::NotEnoughReplicas, -1);
    broker.answer(&second, ErrorCode::OutOfOrderSequenceNumber, -1);
    broker.back_off();
    let first = broker.request();
    assert_eq!(first.stamp(), (100, 0, 1));
    broker.accept(&first, 0);
    broker.back_off();
    assert_eq!(broker.request().stamp(), (100, 0, 2), "no new epoch was needed");
}

#[test]
fn out_of_order_at_the_head_restarts_the_partition_under_a_new_epoch() {
    let mut broker = Conversation::known(config());
    let stored = broker.send_one("0");
    broker.accept(&stored, 0);
    let (first, second) = (broker.send_one("1"), broker.send_one("2"));
    broker.answer(&first, ErrorCode::OutOfOrderSequenceNumber, -1);
    broker.back_off();
    broker.assert_silent();
    broker.answer(&second, ErrorCode::OutOfOrderSequenceNumber, -1);
    broker.back_off();
    let first = broker.request();
    assert_eq!((first.stamp(), first.only().values[0].as_str()), ((100, 1, 0), "1"));
    broker.accept(&first, 1);
    broker.back_off();
    let second = broker.request();
    assert_eq!((second.stamp(), second.only().values[0].as_str()), ((100, 1, 1), "2"));
    broker.accept(&second, 2);
    assert_eq!(broker.send_one("3").stamp(), (100, 1, 2));
}

#[test]
fn a_used_up_epoch_takes_a_new_producer_id() {
    let mut broker = Conversation::with(config(), 1, i16::MAX - 1);
    let first = broker.send_one("1");
    assert_eq!(first.stamp(), (100, i16::MAX - 1, 0));
    broker.answer(&first, ErrorCode::OutOfOrderSequenceNumber, -1);
    broker.back_off();
    assert_eq!(broker.request().stamp(), (101, 0, 0));
}

#[test]
fn a_batch_that_never_left_expires_without_a_trace() {
    let mut broker = Conversation::known(config());
    let requests: Vec<_> = (0..5).map(|n| broker.send_one(&n.to_string())).collect();
    broker.append("late");
    for (offset, request) in (0..).zip(&requests) {
        broker.now += Duration::from_secs(29);
        if offset == 4 {
            break;
        }
        broker.machine.answer(broker.now(), request.id, Err(Failure::Lost("lost".into())));
    }
    broker.pass(Duration::from_secs(120));
    let fates = broker.fates();
    assert_eq!(fates.len(), 6, "{fates:?}");
    for (batch, _, outcome) in fates {
        let error = outcome.unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }), "{error}");
        assert_eq!(error.possibly_stored(), batch <= 5, "batch {batch}: {error}");
    }
}

#[test]
fn after_an_expiry_in_flight_nothing_follows_under_the_old_epoch_unless_it_was_stored() {
    let delivery_timeout = Duration::from_secs(30);
    let patient = Duration::from_secs(29);
    let config = ProducerConfig { delivery_timeout, request_timeout: patient, ..config() };
    for later_succeeds in [false, true] {
        let mut broker = Conversation::known(config.clone());
        let lost = broker.send_one("1");
        broker.now += Duration::from_secs(10);
        let second = broker.send_one("2");
        broker.lose(&lost);
        broker.back_off();
        broker.lose(&second);
        while let Some(request) = broker.requests.pop_front() {
            broker.lose(&request);
        }
        // The first expires while it waits to be sent again; the second is still young.
        broker.now = delivery_timeout - Duration::from_millis(1);
        broker.pass(Duration::from_millis(1));
        let error = broker.only_error();
        assert!(error.possibly_stored(), "{error}");
        broker.back_off();
        let second = broker.request();
        assert_eq!(second.stamp(), (100, 0, 2));
        broker.append("3");
        broker.step();
        broker.assert_silent();
        if later_succeeds {
            broker.accept(&second, 1);
            assert_eq!(broker.request().stamp(), (100, 0, 3), "the first had been stored");
        } else {
            broker.answer(&second, ErrorCode::OutOfOrderSequenceNumber, -1);
            broker.back_off();
            assert_eq!(broker.request().stamp(), (100, 1, 0), "the gap is left behind by a new epoch");
        }
    }
}

#[test]
fn a_silent_broker_loses_its_connection_and_all_that_was_on_it() {
    let mut broker = Conversation::known(config());
    let (first, second) = (broker.send_one("1"), broker.send_one("2"));
    broker.pass(Duration::from_secs(30));
    assert_eq!(broker.disconnected, [Peer::Node(NodeId(0))]);
    broker.accept(&second, 5);
    assert!(broker.fates().is_empty(), "an answer from a given up connection is ignored");
    broker.back_off();
    assert_eq!(broker.request().batches, first.batches);
}

#[test]
fn too_large_a_batch_is_split_over_its_own_sequences() {
    let mut broker = Conversation::new(ProducerConfig { linger: Duration::from_millis(1), ..config() });
    let values = ["a", "b", "c", "d", "e"];
    for value in values {
        broker.append(value);
    }
    broker.pass(Duration::from_millis(1));
    let whole = broker.request();
    assert_eq!(whole.only().values, values);
    broker.answer(&whole, ErrorCode::MessageTooLarge, -1);
    let first = broker.request();
    assert_eq!(
        (first.stamp(), first.only().values.as_slice()),
        ((100, 0, 0), &["a".to_owned(), "b".to_owned()][..])
    );
    broker.assert_silent();
    broker.accept(&first, 0);
    let second = broker.request();
    assert_eq!(second.stamp(), (100, 0, 2));
    broker.answer(&second, ErrorCode::MessageTooLarge, -1);
    let third = broker.request();
    assert_eq!((third.stamp(), third.only().values.as_slice()), ((100, 0, 2), &["c".to_owned()][..]));
    broker.answer(&third, ErrorCode::MessageTooLarge, -1);
    let fates = broker.fates();
    assert!(matches!(&fates[0], (0, records, Ok(Some(0))) if *records == (0..2)), "{fates:?}");
    assert!(
        matches!(&fates[1], (0, records, Err(Error::Refused { code: ErrorCode::MessageTooLarge, .. })) if *records == (2..3))
    );
    broker.back_off();
    let rest = broker.request();
    assert_eq!(
        (rest.stamp(), rest.only().values.as_slice()),
        ((100, 1, 0), &["d".to_owned(), "e".to_owned()][..])
    );
    broker.accept(&rest, 2);
    assert!(matches!(&broker.fates()[0], (0, records, Ok(Some(2))) if *records == (3..5)));
    assert_eq!(broker.machine.buffered_bytes, 0);
}

#[test]
fn a_lasting_refusal_fails_the_batch_and_opens_a_new_epoch() {
    for code in [ErrorCode::InvalidTimestamp, ErrorCode::InvalidProducerEpoch] {
        let mut broker = Conversation::known(config());
        let (first, second) = (broker.send_one("1"), broker.send_one("2"));
        broker.answer(&first, code, -1);
        let error = broker.only_error();
        assert_eq!((error.code(), error.possibly_stored()), (Some(code), false));
        broker.answer(&second, ErrorCode::OutOfOrderSequenceNumber, -1);
        broker.back_off();
        assert_eq!(broker.request().stamp(), (100, 1, 0));
    }
}

#[test]
fn a_moved_leader_gets_the_same_batch() {
    let mut broker = Conversation::known(config());
    broker.pass(Duration::from_secs(1));
    let first = broker.send_one("1");
    broker.leaders[0] = 1;
    broker.answer(&first, ErrorCode::NotLeaderOrFollower, -1);
    broker.back_off();
    let again = broker.request();
    assert_eq!((again.node, &again.batches), (NodeId(1), &first.batches));
}

#[test]
fn without_acks_a_record_is_done_when_it_is_handed_over() {
    let mut broker = Conversation::new(ProducerConfig { acks: Acks::None, ..config() });
    let request = broker.send_one("1");
    assert_eq!(request.stamp(), (-1, -1, -1), "and carries no sequence");
    broker.machine.answer(broker.now(), request.id, Ok(Answer::Produce(None)));
    broker.step();
    assert!(matches!(broker.fates().as_slice(), [(_, _, Ok(None))]));
}

#[test]
fn without_idempotence_order_is_kept_among_what_is_resent() {
    let mut broker = Conversation::new(ProducerConfig { idempotent: Some(false), ..config() });
    let (first, second) = (broker.send_one("1"), broker.send_one("2"));
    broker.lose(&first);
    broker.lose(&second);
    broker.back_off();
    assert_eq!(broker.request().only().values, ["1"]);
    broker.assert_silent();
}

#[test]
fn retries_may_have_a_limit() {
    let mut broker = Conversation::new(ProducerConfig { retries: 1, ..config() });
    let first = broker.send_one("1");
    broker.lose(&first);
    broker.back_off();
    let again = broker.request();
    broker.answer(&again, ErrorCode::NotEnoughReplicas, -1);
    assert!(broker.only_error().possibly_stored(), "the first attempt was never answered");
}

#[test]
fn a_full_buffer_makes_the_sender_wait_and_what_lingers_leave() {
    let config = ProducerConfig {
        linger: Duration::from_secs(1),
        batch_bytes: 500,
        max_request_bytes: 500,
        buffer_bytes: 500,
        ..config()
    };
    let mut broker = Conversation::new(config);
    let value = "x".repeat(200);
    broker.append(&value);
    let full = broker.machine.append(broker.now(), &Record::of(TOPIC, &value).partition(0));
    assert!(matches!(full, Err(Error::BufferFull { limit: 500 })), "{full:?}");
    broker.step();
    let request = broker.request();
    broker.accept(&request, 0);
    broker.append(&value);
    let too_large = broker.machine.append(broker.now(), &Record::of(TOPIC, &"x".repeat(500)).partition(0));
    assert!(matches!(too_large, Err(Error::RecordTooLarge { limit: 500, .. })));
}

#[test]
fn a_topic_refused_for_good_refuses_its_records() {
    let mut broker = Conversation::known(config());
    let record = Record::of("no such name", "v");
    assert!(matches!(broker.machine.append(broker.now(), &record), Err(Error::TopicNotKnownYet { .. })));
    let mut actions = Vec::new();
    broker.machine.step(broker.now(), &mut actions);
    let [Action::Send { id, body: Body::Metadata(_), .. }] = actions[..] else { panic!("{actions:?}") };
    let mut response = broker.metadata();
    response.topics.push(MetadataResponseTopic {
        name: Some("no such name".into()),
        error_code: ErrorCode::InvalidTopicException,
        ..MetadataResponseTopic::default()
    });
    broker.machine.answer(broker.now(), id, Ok(Answer::Metadata(response)));
    let refused = broker.machine.append(broker.now(), &record).unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::InvalidTopicException));
    let outside = broker.machine.append(broker.now(), &Record::of(TOPIC, "v").partition(9));
    assert!(matches!(outside, Err(Error::NoSuchPartition { partition: 9, count: 1, .. })));
}

#[test]
fn an_idle_topic_is_asked_about_no_more_until_it_is_sent_to_again() {
    let mut broker = Conversation::known(config());
    broker.pass(Duration::from_secs(301));
    let gone = broker.machine.append(broker.now(), &Record::of(TOPIC, "v"));
    assert!(!broker.machine.metadata.image().topics.contains_key(TOPIC));
    // The partitions are known from before, so the record is taken, and waits for its leader to be found.
    gone.unwrap();
    broker.step();
    assert_eq!(broker.request().stamp(), (100, 0, 1), "sequences go on");
}

#[test]
fn a_failure_says_whether_the_record_may_be_stored() {
    for (code, possibly_stored) in [
        (ErrorCode::RequestTimedOut, true),
        (ErrorCode::NotEnoughReplicasAfterAppend, true),
        (ErrorCode::UnknownServerError, true),
        (ErrorCode::NotEnoughReplicas, false),
        (ErrorCode::InvalidRecord, false),
    ] {
        let mut broker = Conversation::known(ProducerConfig { retries: 0, ..config() });
        let request = broker.send_one("1");
        broker.answer(&request, code, -1);
        assert_eq!(broker.only_error().possibly_stored(), possibly_stored, "{code}");
    }
}
