//! Logs that are damaged where they were durable: set aside and fetched anew where nothing rests on them, else left alone.

use highwater_storage::partition_metadata;

use super::*;

const SEGMENT: &str = "data/node-1/t-0/00000000000000000001.log";
const SECONDS_UNTIL_SILENT: u32 = 12;

impl Trio {
    /// Three batches on all nodes, and the second node is fenced.
    fn without_second(settings: &[(&str, &str)]) -> Self {
        let mut trio = rolling(settings);
        trio.ensemble.cut_off = vec![SECOND];
        trio.pass(SECONDS_UNTIL_SILENT, |_, _| false);
        assert_eq!(trio.in_sync(), [0, 2].map(NodeId));
        trio
    }

    /// The process dies, and something cuts the second of the second node's segments, of which all was durable.
    fn damaged(self, settings: &[(&str, &str)]) -> (Self, EnsembleEffects) {
        self.disk.open(Path::new(SEGMENT)).unwrap().set_len(10).unwrap();
        self.crashed(&Survivors::All, settings)
    }

    fn in_sync(&self) -> Vec<NodeId> {
        let metadata = &self.ensemble.node(FIRST).unwrap().metadata;
        metadata.partition(self.topic(), PartitionIndex(0)).unwrap().in_sync.to_vec()
    }

    /// Where the logs of the first and the second node end, and how large they are.
    fn sizes(&self) -> [Option<(i64, u64)>; 2] {
        [FIRST, SECOND].map(|node| {
            self.replica(node).map(|replica| (replica.log.end_offset().get(), replica.log.size_bytes()))
        })
    }

    fn len_of(&self, folder: &str) -> u64 {
        let path = Path::new("data/node-1").join(folder).join(Path::new(SEGMENT).file_name().unwrap());
        self.disk.open(&path).unwrap().len()
    }
}

#[test]
fn a_damaged_log_on_which_nothing_rests_is_set_aside_and_fetched_anew() {
    let (mut trio, effects) = Trio::without_second(&ROLLING).damaged(&ROLLING);
    trio.settle(effects);
    let [leaders, own] = trio.sizes();
    assert_eq!(own, leaders, "it has all that its leader has");
    assert_eq!(own.map(|(end, _)| end), Some(3));
    let folders = trio.folders();
    assert!(folders.len() == 2 && folders[0] == "t-0" && folders[1].ends_with("-stray"), "{folders:?}");
    assert_eq!(trio.len_of(&folders[1]), 10, "what was found is kept as it was");
    assert_eq!(trio.in_sync(), [0, 2, 1].map(NodeId));
    assert_eq!(trio.produce(&keyed(3)), Ok(3));
    // No start touches it again.
    let (trio, _) = trio.crashed(&Survivors::All, &ROLLING);
    assert_eq!((trio.folders(), trio.sizes()[1].map(|(end, _)| end)), (folders, Some(4)));
}

#[test]
fn a_damaged_log_on_which_something_may_rest_is_neither_served_nor_touched() {
    const ALL: (&str, &str) = ("min.insync.replicas", "3");
    let is_untouched = |trio: &Trio| {
        assert!(trio.replica(SECOND).is_none());
        assert_eq!((trio.folders(), trio.len_of("t-0")), (vec!["t-0".to_owned()], 10));
    };
    // While fewer are in sync than must be, who left has all that is committed.
    let settings = [&ROLLING[..], &[ALL]].concat();
    let (mut trio, effects) = Trio::without_second(&settings).damaged(&settings);
    trio.settle(effects);
    is_untouched(&trio);

    let (mut trio, effects) = rolling(&ROLLING).damaged(&ROLLING);
    is_untouched(&trio);
    // Others are in sync as well. They go on, and at the next start nothing rests on it any more.
    trio.settle(effects);
    is_untouched(&trio);
    assert_eq!(trio.in_sync(), [0, 2].map(NodeId));
    let (mut trio, effects) = trio.crashed(&Survivors::All, &ROLLING);
    trio.settle(effects);
    assert_eq!((trio.folders().len(), trio.in_sync().len()), (2, 3));
}

/// Damage will not go away; a disk that fails may do better the next time.
#[test]
fn a_log_that_cannot_be_read_is_left_where_it_is() {
    let trio = Trio::without_second(&ROLLING);
    let path = Path::new("data/node-1/t-0").join(partition_metadata::FILE_NAME);
    trio.disk.remove_file(&path).unwrap();
    trio.disk.create_dir(&path).unwrap();
    let (trio, _) = trio.crashed(&Survivors::All, &ROLLING);
    assert!(trio.replica(SECOND).is_none());
    assert_eq!(trio.folders(), ["t-0"]);
}

/// The recovery point of the log that was set aside says nothing of the one in its place, whenever the power goes.
#[test]
fn what_was_remembered_of_a_damaged_log_is_forgotten_before_another_one_is_in_its_place() {
    for survivors in
        [Survivors::None, Survivors::Only(BTreeSet::new()), Survivors::Seed(7), Survivors::Seed(8)]
    {
        let (mut trio, effects) = Trio::without_second(&ROLLING).damaged(&ROLLING);
        trio.settle_but(effects, waits);
        let effects = trio.produce_effects(&keyed(3));
        trio.settle_but(effects, waits);
        assert_eq!(trio.sizes()[1].map(|(end, _)| end), Some(4));
        let (mut trio, effects) = trio.crashed(&survivors, &ROLLING);
        trio.settle(effects);
        let [leaders, own] = trio.sizes();
        assert!(own.is_some() && own == leaders, "{survivors:?}: {own:?}, {leaders:?}");
    }
}
