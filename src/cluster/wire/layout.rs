//! Where things stand in a packet.

use crate::cluster::slots;
use crate::limits;

/// `N` bytes at a place of their own.
#[derive(Clone, Copy)]
pub struct Field<const N: usize> {
    pub at: usize,
}

impl<const N: usize> Field<N> {
    /// The field in `bytes`, which reach at least to its end.
    pub fn of(self, bytes: &[u8]) -> &[u8; N] {
        bytes[self.at..].first_chunk().expect("lengths are checked first")
    }

    pub fn set(self, bytes: &mut [u8], to: [u8; N]) {
        bytes[self.at..self.at + N].copy_from_slice(&to);
    }

    const fn end(self) -> usize {
        self.at + N
    }
}

/// Fields one after the other, and the length of all.
macro_rules! layout {
    ($total:ident = $($name:ident: $len:expr),+ $(,)?) => {
        layout!(@ 0usize; $total; $($name: $len),+);
    };
    (@ $at:expr; $total:ident; $name:ident: $len:expr $(, $more:ident: $lens:expr)*) => {
        pub const $name: Field<{ $len }> = Field { at: $at };
        layout!(@ $name.end(); $total; $($more: $lens),*);
    };
    (@ $at:expr; $total:ident;) => {
        pub const $total: usize = $at;
    };
}

/// An address with its NUL.
pub const IP: usize = limits::ADDRESS + 1;
pub const NAME: usize = 40;
pub const SIGNATURE_TEXT: [u8; 4] = *b"RCmb";
pub const PROTOCOL: u16 = 1;

layout! { HEADER =
    SIGNATURE: 4, TOTAL: 4, VERSION: 2, PORT: 2, KIND: 2, COUNT: 2,
    CURRENT_EPOCH: 8, CONFIG_EPOCH: 8, OFFSET: 8,
    SENDER: NAME, SLOTS: slots::BYTES, REPLICA_OF: NAME, ADDRESS: IP,
    EXTENSIONS: 2, MARK: mark::LEN, RESERVED: 30 - mark::LEN, PPORT: 2, CPORT: 2, FLAGS: 2, STATE: 1, MFLAGS: 3,
}

/// What Shoal hosts know each other by; of zeroes when there is none.
pub mod mark {
    use super::Field;
    layout! { LEN = MAGIC: 4, HOST: 8, TO: 8, NUMBER: 2, NODE: 2 }

    pub const MAGIC_TEXT: [u8; 4] = *b"shl1";
}

/// What stands before the gossip of HOST; its nodes stand behind.
pub mod host {
    use super::Field;
    layout! { LEN = ASKS: 2, NODES: 2, RESERVED: 4 }
}

/// One node of HOST. What it says of itself follows as a PONG without gossip, of so many bytes.
pub mod spoken {
    use super::Field;
    layout! { LEN = NUMBER: 2, RESERVED: 2, NEWS: 4, VERSION: 8, OFFSET: 8 }
}

/// One entry of the gossip that follows the header.
pub mod gossip {
    use super::{Field, IP, NAME};
    layout! { LEN =
        ID: NAME, PING_SENT: 4, PONG_RECEIVED: 4, ADDRESS: IP,
        PORT: 2, CPORT: 2, FLAGS: 2, PPORT: 2, RESERVED: 2,
    }
}

/// What an extension begins with; its length holds these eight bytes too.
pub mod extension {
    use super::Field;
    layout! { LEN = LENGTH: 4, KIND: 2, RESERVED: 2 }

    pub const HOSTNAME: u16 = 0;
    pub const HUMAN_NAME: u16 = 1;
    pub const FORGOTTEN: u16 = 2;
    pub const SHARD_ID: u16 = 3;
}

/// The body of UPDATE.
pub mod update {
    use super::{Field, NAME};
    use crate::cluster::slots;
    layout! { LEN = CONFIG_EPOCH: 8, ID: NAME, SLOTS: slots::BYTES }
}

/// What the texts of PUBLISH and SPUBLISH follow.
pub mod publish {
    use super::Field;
    layout! { LEN = CHANNEL: 4, MESSAGE: 4 }
}

/// What the data of MODULE follow.
pub mod module {
    use super::Field;
    layout! { LEN = ID: 8, DATA: 4, KIND: 1 }
}

/// The table in Redis's cluster.h, which it asserts as well: these never change from one version to
/// the next.
const _: () = {
    assert!(SIGNATURE.at == 0 && TOTAL.at == 4 && VERSION.at == 8 && PORT.at == 10);
    assert!(KIND.at == 12 && COUNT.at == 14 && CURRENT_EPOCH.at == 16 && CONFIG_EPOCH.at == 24);
    assert!(OFFSET.at == 32 && SENDER.at == 40 && SLOTS.at == 80 && REPLICA_OF.at == 2128);
    assert!(ADDRESS.at == 2168 && EXTENSIONS.at == 2214 && MARK.at == 2216 && PPORT.at == 2246);
    assert!(CPORT.at == 2248 && FLAGS.at == 2250 && STATE.at == 2252 && MFLAGS.at == 2253);
    assert!(HEADER == 2256);
    assert!(gossip::PING_SENT.at == 40 && gossip::PONG_RECEIVED.at == 44 && gossip::ADDRESS.at == 48);
    assert!(gossip::PORT.at == 94 && gossip::CPORT.at == 96 && gossip::FLAGS.at == 98);
    assert!(gossip::PPORT.at == 100 && gossip::RESERVED.at == 102 && gossip::LEN == 104);
    assert!(extension::LEN == 8 && publish::LEN == 8 && module::LEN == 13);
    assert!(update::ID.at == 8 && update::SLOTS.at == 48 && update::LEN == 2096);
};
