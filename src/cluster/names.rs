//! What names and addresses of nodes may look like: they come from strangers and go to nodes.conf.

use super::view::NodeId;
use crate::limits;

/// The node's name that these bytes are: 40 digits and lower-case letters, as Redis checks it.
pub fn node_id(bytes: &[u8]) -> Option<NodeId> {
    let id: NodeId = bytes.try_into().ok()?;
    id.iter().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase()).then_some(id)
}

/// Whether this may stand for an address: numbers of either family with scope, or a plain host name.
/// Empty is an address that is not known yet.
pub fn is_address(bytes: &[u8]) -> bool {
    bytes.len() <= limits::ADDRESS
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b':' | b'%' | b'-' | b'_'))
}

/// Whether this may be an announced host name; empty is none.
pub fn is_hostname(bytes: &[u8]) -> bool {
    bytes.len() <= limits::HOSTNAME
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

/// Whether this may be a node's name for humans, or another text that later versions keep beside the
/// address: visible, and nothing that has a meaning of its own in nodes.conf. Empty is none.
pub fn is_aux(bytes: &[u8]) -> bool {
    bytes.len() <= limits::HOSTNAME
        && bytes.iter().all(|b| b.is_ascii_graphic() && !b"!#$%&()*+:;<>?@[]^{|}~,='\"\\".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_file_can_hold_is_a_name() {
        assert_eq!(node_id(&[b'a'; 40]), Some([b'a'; 40]));
        assert_eq!([node_id(&[b'A'; 40]), node_id(&[b'a'; 39]), node_id(&[b'\n'; 40])], [None; 3]);
        for good in ["", "10.0.0.1", "::1", "fe80::1%eth0", "node-1.example_zone"] {
            assert!(is_address(good.as_bytes()), "{good}");
        }
        for bad in ["a b", "1.1.1.1\n", "a,b", "a@b", "ä", "0123456789012345678901234567890123456789012345"]
        {
            assert!(!is_address(bad.as_bytes()), "{bad}");
        }
        assert!(is_hostname(b"a.b-c") && !is_hostname(b"a:b") && !is_hostname(&[b'a'; 256]));
        assert!(is_aux(b"node_1/x") && !is_aux(b"node 1") && !is_aux(b"a=b") && !is_aux(b"a,b"));
    }
}
