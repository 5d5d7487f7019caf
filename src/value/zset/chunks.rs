//! A vector in chunks of fixed size, so that growing it never copies more than one chunk.

use std::ops::{Index, IndexMut};

/// A vector in chunks of `N`. The first grows bit by bit, later ones come whole.
#[derive(Debug)]
pub struct Chunks<T, const N: usize> {
    chunks: Vec<Vec<T>>,
    len: usize,
}

impl<T, const N: usize> Chunks<T, N> {
    pub fn new() -> Chunks<T, N> {
        Chunks { chunks: Vec::new(), len: 0 }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes on the heap.
    pub fn mem(&self) -> usize {
        let rooms = match self.chunks.as_slice() {
            [only] => only.capacity(),
            chunks => chunks.len() * N,
        };
        rooms * size_of::<T>() + self.chunks.capacity() * size_of::<Vec<T>>()
    }

    pub fn allocations(&self) -> usize {
        self.chunks.len() + 1
    }

    pub fn push(&mut self, value: T) {
        match self.chunks.as_mut_slice() {
            [only] if only.len() < N => {
                if only.len() == only.capacity() {
                    only.reserve_exact((only.len() / 4).clamp(1, N - only.len()));
                }
            }
            [_, .., last] if last.len() < N => {}
            [] => self.chunks.push(Vec::new()),
            _ => self.chunks.push(Vec::with_capacity(N)),
        }
        self.chunks.last_mut().expect("one was there or pushed").push(value);
        self.len += 1;
    }

    pub fn pop(&mut self) -> Option<T> {
        let last = self.chunks.last_mut()?;
        let out = last.pop()?;
        self.len -= 1;
        if last.is_empty() {
            self.chunks.pop();
        } else if self.chunks.len() == 1 {
            shrink(&mut self.chunks[0]);
        }
        shrink(&mut self.chunks);
        Some(out)
    }

    /// Takes out the value at `at`; the last one comes to stand there. Panics when there is none.
    pub fn swap_remove(&mut self, at: usize) -> T {
        let last = self.pop().expect("not empty");
        if at == self.len { last } else { std::mem::replace(&mut self[at], last) }
    }

    #[cfg(test)]
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten()
    }
}

fn shrink<T>(v: &mut Vec<T>) {
    if v.capacity() > 2 * v.len() {
        v.shrink_to(v.len() + v.len() / 4);
    }
}

impl<T, const N: usize> Index<usize> for Chunks<T, N> {
    type Output = T;

    #[inline]
    fn index(&self, at: usize) -> &T {
        &self.chunks[at / N][at % N]
    }
}

impl<T, const N: usize> IndexMut<usize> for Chunks<T, N> {
    #[inline]
    fn index_mut(&mut self, at: usize) -> &mut T {
        &mut self.chunks[at / N][at % N]
    }
}

impl<T: Clone, const N: usize> Clone for Chunks<T, N> {
    fn clone(&self) -> Self {
        let whole = self.chunks.len() > 1;
        let copy = |chunk: &Vec<T>| {
            let mut to = Vec::with_capacity(if whole { N } else { chunk.len() });
            to.extend_from_slice(chunk);
            to
        };
        Chunks { chunks: self.chunks.iter().map(copy).collect(), len: self.len }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_in_all_but_its_memory() {
        let (mut chunks, mut model) = (Chunks::<usize, 16>::new(), Vec::new());
        for n in 0..200 {
            chunks.push(n);
            model.push(n);
            if n % 7 == 3 {
                let at = n * 31 % model.len();
                assert_eq!(chunks.swap_remove(at), model.swap_remove(at));
            }
            assert!(chunks.clone().iter().eq(&model));
            assert_eq!((chunks.len(), chunks[n / 2]), (model.len(), model[n / 2]));
        }
        let full = chunks.mem();
        while let Some(n) = model.pop() {
            assert_eq!(chunks.pop(), Some(n));
            assert!(chunks.iter().eq(&model));
        }
        assert_eq!(chunks.pop(), None);
        assert!(chunks.mem() < full / 10);
    }
}
