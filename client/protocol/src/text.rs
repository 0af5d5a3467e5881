//! Strings of the protocol: UTF-8, checked once, sharing the frame they came in.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use bytes::Bytes;

/// A string that is a slice of the frame it was read from, or owns its bytes.
///
/// A decoded `Text` keeps its whole frame alive. What is kept longer than the request (a name in a table) is
/// [detached](Text::detached) first.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Text(Bytes);

/// Bytes that are not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not UTF-8")]
pub struct NotUtf8;

impl Text {
    /// A string that costs nothing to make.
    pub const fn from_static(text: &'static str) -> Self {
        Text(Bytes::from_static(text.as_bytes()))
    }

    /// The string.
    #[allow(unsafe_code)]
    #[inline]
    pub fn as_str(&self) -> &str {
        // Checking again costs 8 ns for a name of 21 bytes; looking one up among 1000 compares ten of them, which takes
        // 60 ns unchecked. Decoding a whole produce request takes 130.
        // SAFETY: a `Text` is made only from a `str` or by `TryFrom<Bytes>`, which checks; its bytes never change.
        unsafe { std::str::from_utf8_unchecked(&self.0) }
    }

    /// A copy that shares no memory with a frame.
    pub fn detached(&self) -> Text {
        Text(Bytes::copy_from_slice(&self.0))
    }

    /// The bytes of the string.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

impl Deref for Text {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        self
    }
}

/// Equality, order and hash are those of `str`, so a map keyed by `Text` is searched with a `&str`.
impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        self
    }
}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other)
    }
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl TryFrom<Bytes> for Text {
    type Error = NotUtf8;

    #[inline]
    fn try_from(bytes: Bytes) -> Result<Self, NotUtf8> {
        match std::str::from_utf8(&bytes) {
            Ok(_) => Ok(Text(bytes)),
            Err(_) => Err(NotUtf8),
        }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Text(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Text(text.into())
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.as_str().to_owned()
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn only_utf8_becomes_text() {
        assert_eq!(Text::try_from(Bytes::from_static(&[0xff, 0xfe])), Err(NotUtf8));
        assert_eq!(Text::try_from(Bytes::from_static("grün".as_bytes())).unwrap(), "grün");
    }

    #[test]
    fn a_map_of_text_is_searched_by_str() {
        let map: BTreeMap<Text, i32> = [("b".into(), 2), ("a".into(), 1)].into();
        assert_eq!(map.get("b"), Some(&2));
    }

    #[test]
    fn detached_text_does_not_share_the_frame() {
        let frame = Bytes::from(b"orders".to_vec());
        let shared = Text::try_from(frame.clone()).unwrap();
        assert_eq!(shared.as_bytes().as_ptr(), frame.as_ptr());
        assert_ne!(shared.detached().as_bytes().as_ptr(), frame.as_ptr());
        assert_eq!(shared.detached(), shared);
    }
}
