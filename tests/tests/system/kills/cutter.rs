//! Somebody who deletes the records of partitions that others write to.

use bytes::Bytes;
use highwater_protocol::Request;
use highwater_protocol::frame::{decode_response, encode_request};
use highwater_protocol::messages::{DeleteRecordsResponse, ListOffsetsResponse};
use highwater_tests::connection::Connection;
use highwater_tests::random::Random;
use highwater_tests::requests::{
    DELETE_RECORDS, LIST_OFFSETS, delete_records, deleted, list_offsets, listed,
};

use super::PLACES;
use super::ledger::{EARLIEST, LATEST};
use super::load::Moment;

/// What was asked and answered in a round, of one partition.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Deletions {
    /// Below which offset records were to be deleted.
    pub(super) asked: i64,
    /// Where the log was told to begin.
    pub(super) told: i64,
}

/// Deletes records up to drawn offsets until the connection ends.
#[derive(Debug)]
pub(super) struct Cutter {
    random: Random,
    done: [Deletions; PLACES.len()],
}

impl Cutter {
    pub(super) fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), done: Default::default() }
    }

    pub(super) async fn cut_until_killed(
        mut self,
        mut connection: Connection,
        moment: Moment,
    ) -> [Deletions; PLACES.len()] {
        while self.cut(&mut connection, &moment).await.is_some() {}
        self.done
    }

    /// `None` where the connection ends.
    async fn cut(&mut self, connection: &mut Connection, moment: &Moment) -> Option<()> {
        let losing = PLACES.iter().enumerate().filter(|(_, place)| place.may_begin_later());
        let losing: Vec<_> = losing.collect();
        let (at, place) = losing[self.random.below(losing.len())];
        let mut ends = [0; 2];
        for (end, which) in ends.iter_mut().zip([EARLIEST, LATEST]) {
            let request = list_offsets(place.topic, place.partition, which);
            connection.send_bytes(&frame_of(&request, LIST_OFFSETS)).await;
            let frame = connection.whole_frame().await?;
            *end = listed(decode_response::<ListOffsetsResponse>(frame, LIST_OFFSETS).unwrap().1).offset;
        }
        // Up to the high watermark, by name or by number, or less.
        let [start, end] = ends;
        let length = usize::try_from(end - start).unwrap();
        let (below, asked) = match self.random.below(6) {
            0 => (-1, i64::MAX),
            _ => {
                let below = start + i64::try_from(self.random.below(length + 1)).unwrap();
                (below, below)
            }
        };
        let done = &mut self.done[at];
        done.asked = done.asked.max(asked);
        let frame = frame_of(&delete_records(place.topic, place.partition, below), DELETE_RECORDS);
        moment.send_deletion(connection, &frame).await;
        let frame = connection.whole_frame().await?;
        let answer = deleted(decode_response::<DeleteRecordsResponse>(frame, DELETE_RECORDS).unwrap().1);
        assert_eq!(answer.error_code.code(), 0, "a deletion was refused");
        assert!(answer.low_watermark >= below, "less was deleted than was asked");
        done.told = done.told.max(answer.low_watermark);
        moment.deleted();
        Some(())
    }
}

fn frame_of<R: Request>(request: &R, version: i16) -> Bytes {
    encode_request(request, version, 0, Some("cutter")).unwrap().into_bytes()
}
