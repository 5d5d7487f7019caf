//! The order: a counted B+tree of (score, id).
//!
//! It is a sequence that is changed by rank and knows nothing of members. Since the sequence is
//! kept in order, a rank is found by [`Tree::partition`] with the owner's comparison. An inner node
//! keeps, for each child, how many entries are below it and the first of them.

/// Entries in a leaf; makes it 760 bytes, which an allocator rounds to 768.
const LEAF: usize = 63;
/// Children of an inner node; with the one that makes it split, 2 KiB.
const FANOUT: usize = 63;

/// A score and the id of the item that has it.
pub type Entry = (f64, u32);

#[derive(Clone)]
struct Leaf {
    len: u32,
    scores: [f64; LEAF],
    ids: [u32; LEAF],
}

/// A child of an inner node.
#[derive(Clone)]
struct Kid {
    /// The first entry below.
    first: f64,
    first_id: u32,
    /// Entries below. Ids are 32 bits wide, so this is enough.
    count: u32,
    node: Node,
}

#[derive(Clone)]
enum Node {
    Leaf(Box<Leaf>),
    Inner(Vec<Kid>),
}

/// Nodes by kind.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
struct Census {
    leaves: usize,
    inners: usize,
}

/// Which end of the whole sequence an insert goes to: there, nodes are left full when they are
/// split, since the next insert will likely go to the same end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Edge {
    Start,
    End,
    None,
}

impl Leaf {
    fn new() -> Box<Leaf> {
        Box::new(Leaf { len: 0, scores: [0.0; LEAF], ids: [0; LEAF] })
    }

    fn entry(&self, at: usize) -> Entry {
        (self.scores[at], self.ids[at])
    }

    fn insert(&mut self, at: usize, (score, id): Entry) {
        let len = self.len as usize;
        self.scores.copy_within(at..len, at + 1);
        self.ids.copy_within(at..len, at + 1);
        (self.scores[at], self.ids[at]) = (score, id);
        self.len += 1;
    }

    fn remove(&mut self, at: usize) -> Entry {
        let out = self.entry(at);
        let len = self.len as usize;
        self.scores.copy_within(at + 1..len, at);
        self.ids.copy_within(at + 1..len, at);
        self.len -= 1;
        out
    }

    /// Moves the entries from `at` on to the front of `to`.
    fn move_tail(&mut self, at: usize, to: &mut Leaf) {
        let (from, n) = (self.len as usize, self.len as usize - at);
        let old = to.len as usize;
        to.scores.copy_within(..old, n);
        to.ids.copy_within(..old, n);
        to.scores[..n].copy_from_slice(&self.scores[at..from]);
        to.ids[..n].copy_from_slice(&self.ids[at..from]);
        to.len += n as u32;
        self.len = at as u32;
    }

    /// Moves the first `n` entries to the end of `to`.
    fn move_head(&mut self, n: usize, to: &mut Leaf) {
        let (len, old) = (self.len as usize, to.len as usize);
        to.scores[old..old + n].copy_from_slice(&self.scores[..n]);
        to.ids[old..old + n].copy_from_slice(&self.ids[..n]);
        to.len += n as u32;
        self.scores.copy_within(n..len, 0);
        self.ids.copy_within(n..len, 0);
        self.len -= n as u32;
    }

    /// Inserts into a full leaf and returns the leaf that now follows it.
    fn split(&mut self, at: usize, entry: Entry, edge: Edge) -> Box<Leaf> {
        let mut right = Leaf::new();
        match edge {
            Edge::End => right.insert(0, entry),
            Edge::Start => {
                self.move_tail(0, &mut right);
                self.insert(0, entry);
            }
            Edge::None => {
                self.move_tail(LEAF / 2, &mut right);
                match at.checked_sub(LEAF / 2 + 1) {
                    Some(at) => right.insert(at + 1, entry),
                    None => self.insert(at, entry),
                }
            }
        }
        right
    }
}

impl Kid {
    /// `node` is not empty.
    fn new(node: Node) -> Kid {
        let (first, first_id) = node.first();
        Kid { first, first_id, count: node.count(), node }
    }

    /// After a change below: `count` is kept by the caller.
    fn refresh_first(&mut self) {
        (self.first, self.first_id) = self.node.first();
    }
}

/// The child that holds the entry at `rank`, and the rank within it. With `inclusive`, a child's
/// end still counts as its own.
fn child_at(kids: &[Kid], rank: &mut usize, inclusive: bool) -> usize {
    for (i, kid) in kids.iter().enumerate() {
        let count = kid.count as usize;
        if *rank < count || (inclusive && *rank == count) {
            return i;
        }
        *rank -= count;
    }
    panic!("a rank beyond the tree's end");
}

impl Node {
    /// The first entry of a node that is not empty.
    fn first(&self) -> Entry {
        match self {
            Node::Leaf(leaf) => leaf.entry(0),
            Node::Inner(kids) => (kids[0].first, kids[0].first_id),
        }
    }

    fn count(&self) -> u32 {
        match self {
            Node::Leaf(leaf) => leaf.len,
            Node::Inner(kids) => kids.iter().map(|kid| kid.count).sum(),
        }
    }

    /// Puts `entry` at `rank`; when that splits the node, returns the one that now follows it.
    fn insert(&mut self, mut rank: usize, entry: Entry, edge: Edge, census: &mut Census) -> Option<Node> {
        match self {
            Node::Leaf(leaf) if (leaf.len as usize) < LEAF => {
                leaf.insert(rank, entry);
                None
            }
            Node::Leaf(leaf) => {
                census.leaves += 1;
                Some(Node::Leaf(leaf.split(rank, entry, edge)))
            }
            Node::Inner(kids) => {
                let at = child_at(kids, &mut rank, true);
                let kid = &mut kids[at];
                let split = kid.node.insert(rank, entry, edge, census);
                kid.count += 1;
                kid.refresh_first();
                let right = Kid::new(split?);
                kid.count -= right.count;
                make_room(kids, 1);
                kids.insert(at + 1, right);
                if kids.len() <= FANOUT {
                    return None;
                }
                census.inners += 1;
                let keep = if edge == Edge::End { FANOUT } else { FANOUT / 2 };
                let mut right = Vec::with_capacity(FANOUT + 1);
                right.extend(kids.drain(keep..));
                Some(Node::Inner(right))
            }
        }
    }

    /// Takes out the entry at `rank`. May leave the node empty.
    fn remove(&mut self, mut rank: usize, census: &mut Census) -> Entry {
        match self {
            Node::Leaf(leaf) => leaf.remove(rank),
            Node::Inner(kids) => {
                let at = child_at(kids, &mut rank, false);
                let kid = &mut kids[at];
                let out = kid.node.remove(rank, census);
                kid.count -= 1;
                if kid.count == 0 {
                    census.gone(&kids.remove(at).node);
                } else {
                    if rank == 0 {
                        kid.refresh_first();
                    }
                    if kid.node.is_thin() {
                        mend(kids, at, census);
                    }
                }
                out
            }
        }
    }

    fn is_thin(&self) -> bool {
        match self {
            Node::Leaf(leaf) => (leaf.len as usize) < LEAF / 4,
            Node::Inner(kids) => kids.len() < FANOUT / 4,
        }
    }
}

/// Makes room for `more` children, by doubling and never beyond what a node can have.
fn make_room(kids: &mut Vec<Kid>, more: usize) {
    let free = kids.capacity() - kids.len();
    if free < more {
        kids.reserve_exact(kids.len().max(more).min(FANOUT + 1 - kids.len()));
    }
}

/// Merges the thin child `at` with a neighbour, or evens the two out. An only child stays thin.
fn mend(kids: &mut Vec<Kid>, at: usize, census: &mut Census) {
    if kids.len() < 2 {
        return;
    }
    let left = at.saturating_sub(1);
    let [a, b] = &mut kids[left..left + 2] else { unreachable!("two neighbours") };
    match (&mut a.node, &mut b.node) {
        (Node::Leaf(a), Node::Leaf(b)) => {
            let (x, y) = (a.len as usize, b.len as usize);
            // Merged nodes keep some room, or the next insert would split them again.
            if x + y <= LEAF * 3 / 4 {
                b.move_head(y, a);
            } else if x < y {
                b.move_head((y - x) / 2, a);
            } else {
                a.move_tail(x - (x - y) / 2, b);
            }
        }
        (Node::Inner(a), Node::Inner(b)) => {
            let (x, y) = (a.len(), b.len());
            if x + y <= FANOUT * 3 / 4 {
                make_room(a, y);
                a.append(b);
            } else if x < y {
                make_room(a, (y - x) / 2);
                a.extend(b.drain(..(y - x) / 2));
            } else {
                make_room(b, (x - y) / 2);
                b.splice(0..0, a.drain(x - (x - y) / 2..));
            }
        }
        _ => unreachable!("all leaves are equally deep"),
    }
    a.count = a.node.count();
    b.count = b.node.count();
    a.refresh_first();
    if b.count == 0 {
        census.gone(&kids.remove(left + 1).node);
    } else {
        b.refresh_first();
    }
}

impl Census {
    fn gone(&mut self, node: &Node) {
        match node {
            Node::Leaf(_) => self.leaves -= 1,
            Node::Inner(_) => self.inners -= 1,
        }
    }
}

/// The tree.
#[derive(Clone)]
pub struct Tree {
    root: Node,
    len: usize,
    census: Census,
}

impl Tree {
    pub fn new() -> Tree {
        Tree { root: Node::Leaf(Leaf::new()), len: 0, census: Census { leaves: 1, inners: 0 } }
    }

    /// Bytes on the heap.
    pub fn mem(&self) -> usize {
        let leaf = size_of::<Leaf>().next_multiple_of(16);
        let root = match &self.root {
            Node::Inner(kids) => kids.capacity(),
            Node::Leaf(_) => 0,
        };
        let others = self.census.inners.saturating_sub(1) * (FANOUT + 1);
        self.census.leaves * leaf + (root + others) * size_of::<Kid>()
    }

    pub fn allocations(&self) -> usize {
        self.census.leaves + self.census.inners
    }

    /// How many entries are `before`: that must hold for all entries up to some rank, and for none
    /// from there on.
    pub fn partition(&self, mut before: impl FnMut(f64, u32) -> bool) -> usize {
        let mut node = &self.root;
        let mut base = 0;
        loop {
            match node {
                Node::Inner(kids) => {
                    let after = kids.partition_point(|kid| before(kid.first, kid.first_id));
                    let Some(at) = after.checked_sub(1) else { return base };
                    base += kids[..at].iter().map(|kid| kid.count as usize).sum::<usize>();
                    node = &kids[at].node;
                }
                Node::Leaf(leaf) => {
                    let (mut low, mut high) = (0, leaf.len as usize);
                    while low < high {
                        let middle = (low + high) / 2;
                        match before(leaf.scores[middle], leaf.ids[middle]) {
                            true => low = middle + 1,
                            false => high = middle,
                        }
                    }
                    return base + low;
                }
            }
        }
    }

    /// Puts an entry at `rank`, at most the tree's length; those from there on move up by one.
    pub fn insert_at(&mut self, rank: usize, entry: Entry) {
        let edge = match rank {
            rank if rank == self.len => Edge::End,
            0 => Edge::Start,
            _ => Edge::None,
        };
        if let Some(right) = self.root.insert(rank, entry, edge, &mut self.census) {
            let left = std::mem::replace(&mut self.root, Node::Inner(Vec::new()));
            self.root = Node::Inner(vec![Kid::new(left), Kid::new(right)]);
            self.census.inners += 1;
        }
        self.len += 1;
    }

    /// Takes out the entry at `rank`. Panics when there is none.
    pub fn remove_at(&mut self, rank: usize) -> Entry {
        let out = self.root.remove(rank, &mut self.census);
        self.len -= 1;
        while let Node::Inner(kids) = &mut self.root
            && kids.len() <= 1
        {
            self.census.inners -= 1;
            match kids.pop() {
                Some(only) => self.root = only.node,
                None => *self = Tree::new(),
            }
        }
        out
    }

    /// Gives the entry at `rank` another id. Panics when there is none.
    pub fn renumber(&mut self, mut rank: usize, id: u32) {
        let mut node = &mut self.root;
        loop {
            match node {
                Node::Inner(kids) => {
                    let at = child_at(kids, &mut rank, false);
                    let kid = &mut kids[at];
                    if rank == 0 {
                        kid.first_id = id;
                    }
                    node = &mut kid.node;
                }
                Node::Leaf(leaf) => {
                    leaf.ids[rank] = id;
                    return;
                }
            }
        }
    }

    /// The entries at `rank` and behind it as far as they lie together, and those before it. Panics
    /// when there is none at `rank`.
    fn around(&self, mut rank: usize) -> (Run<'_>, Run<'_>) {
        let mut node = &self.root;
        loop {
            match node {
                Node::Inner(kids) => node = &kids[child_at(kids, &mut rank, false)].node,
                Node::Leaf(leaf) => {
                    let len = leaf.len as usize;
                    let run = |from: usize, to: usize| Run {
                        scores: &leaf.scores[from..to],
                        ids: &leaf.ids[from..to],
                    };
                    return (run(rank, len), run(0, rank));
                }
            }
        }
    }

    /// The entries of a run of ranks, which lies within the tree.
    pub fn range(&self, ranks: std::ops::Range<usize>) -> Entries<'_> {
        Entries { tree: self, ranks, front: Run::default(), back: Run::default() }
    }

    #[cfg(test)]
    pub fn check(&self) {
        fn walk(node: &Node, root: bool, census: &mut Census) -> usize {
            match node {
                Node::Leaf(leaf) => {
                    census.leaves += 1;
                    assert!(root || leaf.len > 0);
                    1
                }
                Node::Inner(kids) => {
                    census.inners += 1;
                    assert!(kids.len() <= FANOUT && kids.len() > root as usize);
                    let mut depth = None;
                    for kid in kids {
                        assert_eq!(kid.count, kid.node.count());
                        assert_eq!((kid.first, kid.first_id), kid.node.first());
                        let below = walk(&kid.node, false, census);
                        assert_eq!(*depth.get_or_insert(below), below);
                    }
                    depth.unwrap() + 1
                }
            }
        }
        let mut census = Census::default();
        walk(&self.root, true, &mut census);
        assert_eq!(census, self.census);
        assert_eq!(self.root.count() as usize, self.len);
    }
}

/// Entries that lie together in a leaf.
#[derive(Clone, Copy, Default)]
struct Run<'a> {
    scores: &'a [f64],
    ids: &'a [u32],
}

/// Entries of a run of ranks; see [`Tree::range`]. Descends from the root once a leaf.
pub struct Entries<'a> {
    tree: &'a Tree,
    /// What is left; the runs hold some of the first and last of it, and maybe more.
    ranks: std::ops::Range<usize>,
    front: Run<'a>,
    back: Run<'a>,
}

impl Entries<'_> {
    pub fn left(&self) -> usize {
        self.ranks.len()
    }
}

impl Iterator for Entries<'_> {
    type Item = Entry;

    #[inline]
    fn next(&mut self) -> Option<Entry> {
        if self.ranks.is_empty() {
            return None;
        }
        if self.front.ids.is_empty() {
            self.front = self.tree.around(self.ranks.start).0;
        }
        self.ranks.start += 1;
        let (score, scores) = self.front.scores.split_first()?;
        let (id, ids) = self.front.ids.split_first()?;
        self.front = Run { scores, ids };
        Some((*score, *id))
    }
}

impl DoubleEndedIterator for Entries<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Entry> {
        if self.ranks.is_empty() {
            return None;
        }
        self.ranks.end -= 1;
        let (score, id) = match (self.back.scores, self.back.ids) {
            ([scores @ .., score], [ids @ .., id]) => {
                self.back = Run { scores, ids };
                (*score, *id)
            }
            _ => {
                let (at, before) = self.tree.around(self.ranks.end);
                self.back = before;
                (at.scores[0], at.ids[0])
            }
        };
        Some((score, id))
    }
}
