//! Disks that fail: a test says which of the steps towards the disk in a folder does not succeed, and tries them
//! all in turn.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// What one folder has in store.
struct Plan {
    folder: PathBuf,
    /// Steps that go well before one fails.
    left: usize,
    error: i32,
    fired: bool,
}

static PLANS: Mutex<Vec<Plan>> = Mutex::new(Vec::new());

fn with<T>(what: impl FnOnce(&mut Vec<Plan>) -> T) -> T {
    what(&mut PLANS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A step for this file.
pub(super) fn step(path: &Path) -> io::Result<()> {
    with(|plans| {
        let Some(plan) = plans.iter_mut().find(|plan| path.starts_with(&plan.folder) && !plan.fired) else {
            return Ok(());
        };
        if plan.left > 0 {
            plan.left -= 1;
            return Ok(());
        }
        plan.fired = true;
        Err(io::Error::from_raw_os_error(plan.error))
    })
}

/// Does something again and again in a folder, whose first, second, third ... step towards the disk fails, until
/// it has no more steps. After each try `check` is told whether it succeeded, on a disk that is well again.
pub fn everywhere<T, E>(
    folder: &Path,
    mut try_it: impl FnMut() -> Result<T, E>,
    mut check: impl FnMut(usize, Result<T, E>),
) -> usize {
    for error in [libc::EIO, libc::ENOSPC] {
        for steps in 0.. {
            let plan = Plan { folder: folder.into(), left: steps, error, fired: false };
            with(|plans| plans.push(plan));
            let done = try_it();
            let fired = with(|plans| {
                let at = plans.iter().position(|plan| plan.folder == folder).expect("it was there");
                plans.remove(at).fired
            });
            assert!(fired || done.is_ok(), "nothing failed, and it did");
            check(steps, done);
            if !fired {
                if error == libc::ENOSPC {
                    return steps;
                }
                break;
            }
        }
    }
    unreachable!("it has an end")
}
