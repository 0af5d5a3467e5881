//! How a record of a run says who it is: by its key, as long as no two have the same; in a log that is compacted few keys
//! are written again and again, now and then without a value, and who it is stands in a header.

use bytes::Bytes;
use highwater_storage::batch::{HeaderView, Headers};

/// The header that tells the name.
pub(super) const HEADER: &str = "name";

/// How many keys are written; none where each record has its own.
pub(super) type Keys = Option<u64>;

/// What is to be written.
#[derive(Debug)]
pub(super) struct Named<'a> {
    name: &'a str,
    keys: Keys,
    key: String,
}

impl<'a> Named<'a> {
    pub(super) fn new(name: &'a str, keys: Keys) -> Self {
        let key = keys.map_or_else(|| name.to_owned(), |keys| format!("key-{}", number(name) % keys));
        Self { name, keys, key }
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Whether it deletes what its key has.
    pub(super) fn deletes(&self) -> bool {
        self.keys.is_some_and(|keys| (number(self.name) / keys).is_multiple_of(8))
    }

    /// Whether its key does not tell its name.
    pub(super) fn is_named_apart(&self) -> bool {
        self.keys.is_some()
    }

    pub(super) fn header(&self) -> Option<HeaderView<'a>> {
        self.keys.map(|_| HeaderView { key: HEADER.as_bytes(), value: Some(self.name.as_bytes()) })
    }
}

/// Spreads names; the same one is the same in every run.
fn number(name: &str) -> u64 {
    let hash = name.bytes().fold(7, |hash: u64, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16
}

/// The name of a record that is there.
pub(super) fn name(key: Option<&Bytes>, headers: &Headers) -> Bytes {
    let header = headers.iter().find(|header| header.key == HEADER);
    header.and_then(|header| header.value).or_else(|| key.cloned()).unwrap_or_default()
}
