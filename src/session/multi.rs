//! What a client has queued since MULTI.

use crate::command::spec::{Spec, flag};
use crate::resp::args::OwnedArgs;
use crate::slot::Slot;

/// A command that waits for EXEC.
pub struct Waiting {
    pub spec: &'static Spec,
    pub args: OwnedArgs,
    /// Its first key as routing has found it: the argument (0 without a key), slot and hash.
    pub key: (u32, Slot, u64),
    /// How long it is as it was sent.
    pub bytes: u32,
}

/// A transaction in the making.
#[derive(Default)]
pub struct Multi {
    pub commands: Vec<Waiting>,
    /// The flags of all commands together.
    pub flags: u32,
    /// A command was refused: EXEC will refuse all.
    pub doomed: bool,
    /// MULTI came behind ASKING, which holds for all of it.
    pub asking: bool,
    bytes: usize,
}

impl Multi {
    pub fn new(asking: bool) -> Multi {
        Multi { asking, ..Multi::default() }
    }

    /// Takes in a command; one that would never run is not kept.
    pub fn push(&mut self, command: Waiting) {
        if self.doomed {
            return;
        }
        self.flags |= command.spec.flags;
        self.bytes += command.args.bytes();
        self.commands.push(command);
    }

    /// EXEC as the gate sees it: it does what any of the commands does, and stands only what all of them stand.
    pub fn as_one(&self, exec: &Spec) -> Spec {
        let lacking = self.commands.iter().fold(0, |lacking, command| lacking | !command.spec.flags);
        Spec { flags: (exec.flags | self.flags) & !(lacking & (flag::STALE | flag::LOADING)), ..*exec }
    }

    /// Bytes of the queued arguments.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Memory that it takes.
    pub fn memory(&self) -> usize {
        size_of::<Multi>() + self.bytes + self.commands.capacity() * size_of::<Waiting>()
    }
}
