//! When two replies say the same.

use super::script::How;
use crate::common::resp::{Node, Reply};

/// Whether `ours` says what `theirs` says.
pub fn same(how: &How, theirs: &Reply, ours: &Reply) -> bool {
    // an error's text is part of the behaviour however the rest is compared
    let error = theirs.is_error() || ours.is_error();
    match how {
        How::Ignore => true,
        How::Exact => theirs.raw == ours.raw,
        _ if error => theirs.raw == ours.raw,
        How::Unordered { pairs } => unordered(theirs, *pairs) == unordered(ours, *pairs),
        How::Deep => deep(theirs, &theirs.node) == deep(ours, &ours.node),
        How::Shape => shape(theirs, &theirs.node) == shape(ours, &ours.node),
        How::Near(by) => near(theirs, &theirs.node, ours, &ours.node, *by as f64),
        How::Fields(names) => {
            fields(&theirs.text(), names) == fields(&ours.text(), names) && theirs.node.kind == ours.node.kind
        }
    }
}

/// Kind and header, and the sorted elements (or pairs of elements).
fn unordered(reply: &Reply, pairs: bool) -> (Vec<u8>, Vec<Vec<u8>>) {
    let node = &reply.node;
    let first = node.items.first().map_or(node.end, |item| item.start);
    let mut parts = elements(reply, node, pairs);
    parts.sort();
    (reply.raw[..first].to_vec(), parts)
}

/// The bytes with the elements of every aggregate sorted.
fn deep(reply: &Reply, node: &Node) -> Vec<u8> {
    let first = node.items.first().map_or(node.end, |item| item.start);
    let mut parts: Vec<Vec<u8>> = node.items.iter().map(|item| deep(reply, item)).collect();
    parts.sort();
    let mut out = reply.raw[node.start..first].to_vec();
    out.extend(parts.into_iter().flatten());
    out
}

/// The elements' bytes; two by two when `pairs` or when it is a map.
pub fn elements(reply: &Reply, node: &Node, pairs: bool) -> Vec<Vec<u8>> {
    let by = if pairs && flat(node) || node.kind == b'%' { 2 } else { 1 };
    node.items.chunks(by).map(|part| part.iter().flat_map(|n| reply.bytes(n).to_vec()).collect()).collect()
}

/// Whether pairs stand flat in the array, as in RESP2, and not as arrays of two.
fn flat(node: &Node) -> bool {
    !node.items.iter().any(|item| item.kind == b'*')
}

fn shape(reply: &Reply, node: &Node) -> String {
    let mut out = String::from(node.kind as char);
    if node.null {
        out.push_str("null");
    }
    if matches!(node.kind, b'-' | b'!') {
        out.push_str(&String::from_utf8_lossy(reply.body(node)));
    }
    if !node.items.is_empty() {
        let inner: Vec<String> = node.items.iter().map(|item| shape(reply, item)).collect();
        out.push_str(&format!("{}[{}]", node.items.len(), inner.join(" ")));
    }
    out
}

fn near(theirs: &Reply, t: &Node, ours: &Reply, o: &Node, by: f64) -> bool {
    if t.kind != o.kind || t.null != o.null || t.items.len() != o.items.len() {
        return false;
    }
    if !t.items.is_empty() {
        return t.items.iter().zip(&o.items).all(|(t, o)| near(theirs, t, ours, o, by));
    }
    let number = |bytes: &[u8]| std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<f64>().ok());
    match (number(theirs.body(t)), number(ours.body(o))) {
        // negative answers of TTL and its like are codes, not distances
        (Some(a), Some(b)) if a >= 0.0 && b >= 0.0 => (a - b).abs() <= by,
        _ => theirs.body(t) == ours.body(o),
    }
}

/// The names of a text's fields in order, and the values of those in `named`.
fn fields(text: &str, named: &[String]) -> Vec<(String, Option<String>)> {
    let mut out = Vec::new();
    for word in text.split_whitespace() {
        let Some(end) = word.find([':', '=']) else { continue };
        let (name, value) = (&word[..end], &word[end + 1..]);
        let wanted = named.iter().any(|n| n == name);
        if wanted || named.is_empty() {
            out.push((name.to_owned(), wanted.then(|| value.to_owned())));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::resp::parse;

    fn reply(raw: &[u8]) -> Reply {
        Reply { raw: raw.to_vec(), node: parse(raw, 0).unwrap().unwrap() }
    }

    fn agree(how: How, a: &[u8], b: &[u8]) -> bool {
        same(&how, &reply(a), &reply(b))
    }

    #[test]
    fn exact_means_bytes() {
        assert!(agree(How::Exact, b"$-1\r\n", b"$-1\r\n"));
        assert!(!agree(How::Exact, b"$-1\r\n", b"*-1\r\n"));
        assert!(!agree(How::Exact, b"$-1\r\n", b"_\r\n"));
    }

    #[test]
    fn order_is_all_that_unordered_forgives() {
        let set = How::Unordered { pairs: false };
        let pairs = How::Unordered { pairs: true };
        assert!(agree(set.clone(), b"*2\r\n$1\r\na\r\n$1\r\nb\r\n", b"*2\r\n$1\r\nb\r\n$1\r\na\r\n"));
        assert!(!agree(set.clone(), b"*2\r\n$1\r\na\r\n$1\r\nb\r\n", b"*2\r\n$1\r\nb\r\n$1\r\nb\r\n"));
        assert!(!agree(set.clone(), b"*1\r\n$1\r\na\r\n", b"~1\r\n$1\r\na\r\n"));
        let (ab, ba) = (b"*4\r\n:1\r\n:2\r\n:3\r\n:4\r\n", b"*4\r\n:3\r\n:4\r\n:1\r\n:2\r\n");
        assert!(agree(pairs.clone(), ab, ba));
        assert!(!agree(pairs, ab, b"*4\r\n:2\r\n:1\r\n:3\r\n:4\r\n"));
        assert!(agree(set, b"%2\r\n:1\r\n:2\r\n:3\r\n:4\r\n", b"%2\r\n:3\r\n:4\r\n:1\r\n:2\r\n"));
    }

    #[test]
    fn deep_sorts_within_but_does_not_mix() {
        let (a, b) = (b"*2\r\n*2\r\n:1\r\n:2\r\n:3\r\n", b"*2\r\n:3\r\n*2\r\n:2\r\n:1\r\n");
        assert!(agree(How::Deep, a, b));
        assert!(!agree(How::Deep, a, b"*2\r\n:1\r\n*2\r\n:2\r\n:3\r\n"));
    }

    #[test]
    fn errors_are_never_forgiven() {
        for how in [How::Shape, How::Near(9), How::Fields(vec![]), How::Unordered { pairs: false }] {
            assert!(!agree(how.clone(), b"-ERR a\r\n", b"-ERR b\r\n"), "{how:?}");
            assert!(!agree(how.clone(), b":1\r\n", b"-ERR b\r\n"), "{how:?}");
        }
    }

    #[test]
    fn near_is_for_numbers() {
        assert!(agree(How::Near(5), b":100\r\n", b":96\r\n"));
        assert!(!agree(How::Near(5), b":100\r\n", b":94\r\n"));
        assert!(!agree(How::Near(5), b":-1\r\n", b":-2\r\n"));
        assert!(!agree(How::Near(5), b":1\r\n", b"$1\r\n1\r\n"));
    }

    #[test]
    fn shape_and_fields_compare_what_is_left() {
        assert!(agree(How::Shape, b"*2\r\n$1\r\na\r\n:1\r\n", b"*2\r\n$2\r\nxy\r\n:9\r\n"));
        assert!(!agree(How::Shape, b"*2\r\n$1\r\na\r\n:1\r\n", b"*1\r\n$1\r\na\r\n"));
        assert!(!agree(How::Shape, b"$-1\r\n", b"$1\r\na\r\n"));
        assert!(agree(How::Fields(vec![]), b"+id=1 db=0\r\n", b"+id=7 db=0\r\n"));
        assert!(!agree(How::Fields(vec![]), b"+id=1 db=0\r\n", b"+id=1\r\n"));
        assert!(!agree(How::Fields(vec!["db".into()]), b"+id=1 db=0\r\n", b"+id=1 db=1\r\n"));
    }
}
