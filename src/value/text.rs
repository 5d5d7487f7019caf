//! A long string: bytes of its own, or a share of the input that it came with.

use bytes::Bytes;
use std::ops::Deref;

/// The bytes of a string that does not fit into its entry.
#[derive(Clone)]
pub enum Text {
    Own(Vec<u8>),
    /// Nearly all of a client's request, as it was received: to take it costs no copy.
    Shared(Bytes),
}

impl Text {
    /// Bytes that it keeps on the heap.
    pub fn heap(&self) -> usize {
        match self {
            Text::Own(bytes) => bytes.capacity(),
            Text::Shared(bytes) => bytes.len(),
        }
    }

    /// The bytes for change.
    pub fn to_mut(&mut self) -> &mut Vec<u8> {
        if let Text::Shared(bytes) = self {
            *self = Text::Own(std::mem::take(bytes).into());
        }
        let Text::Own(bytes) = self else { unreachable!("it has just become its own") };
        bytes
    }
}

impl From<Vec<u8>> for Text {
    fn from(bytes: Vec<u8>) -> Text {
        Text::Own(bytes)
    }
}

impl From<Text> for Vec<u8> {
    fn from(text: Text) -> Vec<u8> {
        match text {
            Text::Own(bytes) => bytes,
            Text::Shared(bytes) => bytes.into(),
        }
    }
}

impl Deref for Text {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Text::Own(bytes) => bytes,
            Text::Shared(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_becomes_its_own_when_it_is_written_to() {
        let input = Bytes::from(b"SET key value".to_vec());
        let mut text = Text::Shared(input.slice(8..));
        let other = text.clone();
        text.to_mut().extend_from_slice(b"s");
        assert_eq!((&text[..], &other[..], &input[..3]), (&b"values"[..], &b"value"[..], &b"SET"[..]));
        assert!(matches!(text, Text::Own(_)) && text.heap() >= 6 && other.heap() == 5);
        drop(input);
        assert_eq!(Vec::from(other), b"value");
    }
}
