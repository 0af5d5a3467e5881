//! Writes small corpora to `corpus/`: what a fuzzer would take long to find by itself.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use highwater_protocol::frame::{SIZE_BYTES, encode_request};
use highwater_protocol::messages::create_topics::CreatableTopic;
use highwater_protocol::messages::*;
use highwater_protocol::{Message, Request};
use highwater_storage::batch::Codec;
use highwater_tests::batches::{ScriptedProducer, batch, compressed};
use highwater_tests::requests::{fetch, list_offsets, produce};

#[path = "../../../client/protocol/tests/generate/mod.rs"]
mod generate;

fn main() -> std::io::Result<()> {
    requests()?;
    batches()?;
    folders()
}

fn write(target: &str, name: &str, content: &[u8]) -> std::io::Result<()> {
    let folder = Path::new("corpus").join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(name), content)
}

/// A frame as the `request` target reads it.
fn frame<R: Request>(request: &R, version: i16) -> Vec<u8> {
    let frame = encode_request(request, version, 1, Some("c")).expect("a request of ours").into_bytes();
    with_length(&frame[SIZE_BYTES..])
}

fn with_length(frame: &[u8]) -> Vec<u8> {
    let length = u32::try_from(frame.len()).expect("short").to_be_bytes();
    [&length[1..], frame].concat()
}

fn header<R: Request>(version: i16) -> Vec<u8> {
    let start = [&R::KEY.number().to_be_bytes()[..], &version.to_be_bytes(), &1_i32.to_be_bytes()].concat();
    let is_flexible = R::FIRST_FLEXIBLE.is_some_and(|first| version >= first);
    [&start[..], &[0, 1, b'c'], if is_flexible { &[0] } else { &[] }].concat()
}

fn new_topic() -> Vec<u8> {
    let topic =
        CreatableTopic { name: "t".into(), num_partitions: 2, replication_factor: 1, ..Default::default() };
    frame(&CreateTopicsRequest { topics: vec![topic], ..Default::default() }, 7)
}

/// A frame of every API at every version, once random and once in front of what was made before; and a conversation.
fn requests() -> std::io::Result<()> {
    macro_rules! every {
        ($($key:ident $request:ident $response:ident;)*) => {$(
            for version in $request::VERSIONS.iter() {
                for seed in 0..2 {
                    let body = generate::random::<$request>(version, seed).bytes;
                    let header = header::<$request>(version);
                    let name = format!("{}-{version}-{seed}", stringify!($key));
                    write("request", &name, &[new_topic(), with_length(&[header, body].concat())].concat())?;
                }
            }
        )*};
    }
    highwater_protocol::for_each_api!(every);
    let producer = ScriptedProducer { id: 5, epoch: 0 };
    let mut talk = new_topic();
    for sequence in [0, 1, 0, 3] {
        talk.extend(frame(&produce("t", 0, -1, producer.batch(sequence, "v")), 12));
    }
    for (version, time) in [(11, -1), (11, -3), (11, 1), (4, 1)] {
        talk.extend(frame(&list_offsets("t", 0, time), version));
    }
    let mut full = fetch("t", 0, 0);
    full.session_epoch = 0;
    talk.extend(frame(&full, 12));
    talk.extend(frame(&fetch("t", 0, 2), 4));
    write("request", "talk", &talk)
}

fn batches() -> std::io::Result<()> {
    for codec in Codec::ALL {
        let records = compressed(codec, &["one", "two", "two", "two", "two", "two"]);
        for choice in [0_u8, 1, 3, 7, 11, 15, 19, 67] {
            let name = format!("{}-{choice}", codec.name());
            write("batch", &name, &[&[choice], &records[..]].concat())?;
        }
    }
    Ok(())
}

/// One deed of each kind to each file of a log that stopped either way, opened after either kind of stop; and folders
/// made of nothing but what is put there.
fn folders() -> std::io::Result<()> {
    const MEND: u8 = 0x80;
    for begin in 0..8_u8 {
        for (start, recovery_point) in [(0, 0), (4, 0), (0, 9), (8, 12), (99, 99)] {
            let name = format!("whole-{begin}-{start}-{recovery_point}");
            write("open", &name, &[begin | 0x38, start, recovery_point])?;
        }
        for what in 0..7_u8 {
            for which in (0..32_u8).step_by(3) {
                let place = which.wrapping_mul(7);
                let deed = [begin, 0, 0, what | if which % 2 == 0 { MEND } else { 0 }, which, place, 8];
                let contents = [0, 0, 0, which, 0xff, 0, 0, 1];
                write("open", &format!("deed-{begin}-{what}-{which}"), &[&deed[..], &contents].concat())?;
            }
        }
    }
    let producer = ScriptedProducer { id: 5, epoch: 0 };
    let mut segment = Vec::new();
    for (offset, records) in
        [batch(&["a"]), producer.batch(0, "b"), compressed(Codec::Lz4, &["c"])].iter().enumerate()
    {
        segment.extend(at_offset(records, offset));
    }
    let length = u8::try_from(segment.len()).expect("three short batches");
    for begin in [0, 4_u8] {
        let put = |length: u8| [&[begin, 0, 0, 6, 0, 0, length][..], &segment[..usize::from(length)]].concat();
        write("open", &format!("put-{begin}"), &put(length))?;
        write("open", &format!("put-cut-{begin}"), &put(length - 5))?;
        for name in 0..12_u8 {
            let second = [6, name << 3 | name % 8, 0, 24];
            let both = [&put(length)[..], &second, &[0; 24]].concat();
            write("open", &format!("put-{begin}-{name}"), &both)?;
        }
    }
    Ok(())
}

fn at_offset(records: &Bytes, offset: usize) -> Vec<u8> {
    let mut stored = records.to_vec();
    stored[..8].copy_from_slice(&(offset as u64).to_be_bytes());
    stored[12..16].copy_from_slice(&0_i32.to_be_bytes());
    stored
}
