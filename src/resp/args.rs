//! A command's arguments, where they lie in the bytes that arrived: nothing is copied.

use std::ops::Index;

/// Where one argument lies in its buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    pub start: u32,
    pub len: u32,
}

/// The arguments of one command, name first. Cheap to copy.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    buf: &'a [u8],
    at: &'a [Span],
}

impl<'a> Args<'a> {
    /// Every span must lie inside `buf`; indexing panics otherwise.
    #[inline]
    pub fn new(buf: &'a [u8], at: &'a [Span]) -> Args<'a> {
        Args { buf, at }
    }

    /// Number of arguments, the command's name included.
    #[allow(clippy::len_without_is_empty)]
    #[inline]
    pub fn len(&self) -> usize {
        self.at.len()
    }

    /// Argument `i`, with the buffer's lifetime. Panics when there is none.
    #[inline]
    pub fn at(&self, i: usize) -> &'a [u8] {
        let s = self.at[i];
        &self.buf[s.start as usize..(s.start + s.len) as usize]
    }

    #[inline]
    pub fn get(&self, i: usize) -> Option<&'a [u8]> {
        (i < self.at.len()).then(|| self.at(i))
    }

    /// The arguments from number `i` on (none when there are fewer).
    #[inline]
    pub fn from(&self, i: usize) -> Args<'a> {
        Args { buf: self.buf, at: self.at.get(i..).unwrap_or(&[]) }
    }

    /// The arguments `from..to`. Panics when out of range.
    #[inline]
    pub fn slice(&self, from: usize, to: usize) -> Args<'a> {
        Args { buf: self.buf, at: &self.at[from..to] }
    }

    #[inline]
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &'a [u8]> + ExactSizeIterator + use<'a> {
        let buf = self.buf;
        self.at.iter().map(move |s| &buf[s.start as usize..(s.start + s.len) as usize])
    }

    /// Whether argument `i` exists and equals `word`, letter case aside.
    #[inline]
    pub fn is(&self, i: usize, word: &str) -> bool {
        self.get(i).is_some_and(|a| a.eq_ignore_ascii_case(word.as_bytes()))
    }
}

impl Index<usize> for Args<'_> {
    type Output = [u8];

    #[inline]
    fn index(&self, i: usize) -> &[u8] {
        self.at(i)
    }
}

/// Arguments that own their bytes, for tests and for commands that the house sends to itself.
#[derive(Clone, Debug, Default)]
pub struct OwnedArgs {
    buf: Vec<u8>,
    at: Vec<Span>,
}

impl OwnedArgs {
    pub fn new<T: AsRef<[u8]>>(words: impl IntoIterator<Item = T>) -> OwnedArgs {
        let mut owned = OwnedArgs::default();
        for word in words {
            owned.push(word.as_ref());
        }
        owned
    }

    pub fn push(&mut self, word: &[u8]) {
        self.at.push(Span { start: self.buf.len() as u32, len: word.len() as u32 });
        self.buf.extend_from_slice(word);
    }

    #[inline]
    pub fn as_args(&self) -> Args<'_> {
        Args::new(&self.buf, &self.at)
    }

    /// Memory that they take.
    pub fn bytes(&self) -> usize {
        self.buf.len() + self.at.len() * size_of::<Span>()
    }
}
