//! Where records come from: standard input or files, read block by block beside the sending, and cut into records.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tokio::sync::mpsc;

use super::MAX_RECORD_BYTES;
use crate::arguments::Delimiter;

/// How much is read at once.
const BLOCK_BYTES: usize = 128 * 1024;
/// How many blocks may be read ahead of the sending.
const BLOCKS_AHEAD: usize = 4;

/// What reading yields.
#[derive(Debug)]
pub(super) enum Piece {
    Block(Vec<u8>),
    /// One input has ended; the next begins a new record.
    End,
}

/// Reads one input after the other (`-` is standard input) on a thread of its own: a read of a terminal or a pipe cannot
/// be called off, and must not keep anything else from going on.
pub(super) fn read(inputs: Vec<PathBuf>) -> io::Result<mpsc::Receiver<anyhow::Result<Piece>>> {
    let (pieces, taken) = mpsc::channel(BLOCKS_AHEAD);
    let reading = move || {
        for path in inputs {
            if let Err(error) = read_one(&path, &pieces) {
                let _ = pieces.blocking_send(Err(error.context(name_of(&path))));
                return;
            }
        }
    };
    std::thread::Builder::new().name("input".to_owned()).spawn(reading)?;
    Ok(taken)
}

pub(super) fn name_of(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() }
}

fn read_one(path: &Path, pieces: &mpsc::Sender<anyhow::Result<Piece>>) -> anyhow::Result<()> {
    let mut input: Box<dyn Read> =
        if path == Path::new("-") { Box::new(io::stdin()) } else { Box::new(File::open(path)?) };
    loop {
        let mut block = vec![0; BLOCK_BYTES];
        let piece = match input.read(&mut block) {
            Ok(0) => Piece::End,
            Ok(count) => {
                block.truncate(count);
                Piece::Block(block)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        let ended = matches!(piece, Piece::End);
        // Nobody takes any more once sending has failed.
        if pieces.blocking_send(Ok(piece)).is_err() || ended {
            return Ok(());
        }
    }
}

/// Cuts what was read into records, at a delimiter, or only where an input ends.
#[derive(Debug)]
pub(super) struct Splitter {
    delimiter: Option<Delimiter>,
    buffer: Vec<u8>,
    /// Where the next record begins.
    begin: usize,
    /// Up to where no delimiter begins.
    searched: usize,
    /// How many records of this input were given.
    given: u64,
}

impl Splitter {
    pub(super) const fn new(delimiter: Option<Delimiter>) -> Self {
        Self { delimiter, buffer: Vec::new(), begin: 0, searched: 0, given: 0 }
    }

    pub(super) fn feed(&mut self, block: &[u8]) {
        self.buffer.drain(..self.begin);
        self.searched -= self.begin;
        self.begin = 0;
        self.buffer.extend_from_slice(block);
    }

    /// The next record that is whole.
    ///
    /// # Errors
    /// One that is larger than any that can be sent.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<&[u8]>> {
        let delimiter = self.delimiter.as_ref().map(Delimiter::as_bytes);
        let found = delimiter.and_then(|delimiter| {
            let place = find(&self.buffer[self.searched..], delimiter)?;
            Some((self.searched + place, delimiter.len()))
        });
        let (end, behind) = match found {
            Some((end, len)) => (end, end + len),
            None => {
                // The beginning of a delimiter may stand at the very end.
                let open = delimiter.map_or(0, |delimiter| delimiter.len() - 1);
                self.searched = self.buffer.len().saturating_sub(open).max(self.begin);
                (self.buffer.len(), usize::MAX)
            }
        };
        if end - self.begin > MAX_RECORD_BYTES {
            bail!("record {} is larger than {MAX_RECORD_BYTES} bytes", self.given + 1);
        }
        if behind == usize::MAX {
            return Ok(None);
        }
        let record = self.begin..end;
        (self.begin, self.searched) = (behind, behind);
        self.given += 1;
        Ok(Some(&self.buffer[record]))
    }

    /// The input has ended: the last record, if it is not cut off yet. Without a delimiter even nothing is a record.
    pub(super) fn end(&mut self) -> Option<Vec<u8>> {
        let mut rest = std::mem::take(&mut self.buffer);
        rest.drain(..self.begin);
        (self.begin, self.searched) = (0, 0);
        self.given += 1;
        (self.delimiter.is_none() || !rest.is_empty()).then_some(rest)
    }

    /// The number of the record last given, the first of an input being 1.
    pub(super) const fn number(&self) -> u64 {
        self.given
    }

    /// A new input begins.
    pub(super) const fn restart(&mut self) {
        self.given = 0;
    }
}

/// Where `wanted`, which is not empty, first stands in `bytes`.
pub(super) fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let (first, rest) = wanted.split_first()?;
    let mut from = 0;
    loop {
        let place = from + bytes.get(from..)?.iter().position(|byte| byte == first)?;
        if bytes[place + 1..].starts_with(rest) {
            return Some(place);
        }
        from = place + 1;
    }
}

/// The size of a file that is to be one record, checked before anything is read.
pub(super) fn check_size(path: &Path) -> anyhow::Result<()> {
    let size = std::fs::metadata(path).with_context(|| name_of(path))?.len();
    if size > MAX_RECORD_BYTES as u64 {
        bail!("{}: {size} bytes are more than a record may have, {MAX_RECORD_BYTES}", name_of(path));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(delimiter: &str, input: &[u8], block: usize) -> Vec<Vec<u8>> {
        let mut splitter = Splitter::new(Some(Delimiter::parse(delimiter).unwrap()));
        let mut records = Vec::new();
        for block in input.chunks(block) {
            splitter.feed(block);
            while let Some(record) = splitter.next().unwrap() {
                records.push(record.to_vec());
            }
        }
        records.extend(splitter.end());
        records
    }

    #[test]
    fn however_the_blocks_fall_the_records_are_the_same() {
        for block in 1..12 {
            assert_eq!(split("\n", b"one\n\ntwo\nthree", block), [&b"one"[..], b"", b"two", b"three"]);
            assert_eq!(split("\n", b"one\n", block), [b"one"]);
            assert_eq!(split("--", b"a--b-c---d", block), [&b"a"[..], b"b-c", b"-d"]);
            assert_eq!(split("aab", b"xaaabyaa", block), [&b"xa"[..], b"yaa"]);
            assert!(split("\n", b"", block).is_empty());
        }
    }

    #[test]
    fn without_a_delimiter_an_input_is_a_record() {
        let mut splitter = Splitter::new(None);
        splitter.feed(b"one\n");
        assert_eq!(splitter.next().unwrap(), None);
        splitter.feed(b"two\n");
        assert_eq!(splitter.next().unwrap(), None);
        assert_eq!(splitter.end().as_deref(), Some(&b"one\ntwo\n"[..]));
        assert_eq!(splitter.end().as_deref(), Some(&b""[..]));
    }

    #[test]
    fn a_record_without_end_is_refused_rather_than_kept() {
        let mut splitter = Splitter::new(Some(Delimiter::parse("\n").unwrap()));
        let block = vec![b'x'; 1024 * 1024];
        let refused = (0..=MAX_RECORD_BYTES / block.len()).find_map(|_| {
            splitter.feed(&block);
            splitter.next().map(|record| assert!(record.is_none())).err()
        });
        assert_eq!(refused.unwrap().to_string(), "record 1 is larger than 16777216 bytes");
    }
}
