//! Keeps a process that handles secrets from leaving them behind.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Turns off core dumps of this process, and reading of its memory by other processes of the same user. To be called
/// before the first secret is read. Does not keep secrets out of swap: a sealing machine has none, or encrypts it.
///
/// # Errors
/// Only if the kernel (or a sandbox in front of it) refuses to lower a limit.
pub fn harden_process() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::process::dumpable_behavior;

    use super::*;

    /// The limit as /proc tells it, not as the library that set it does.
    #[test]
    fn no_core_dumps_and_no_tracing() {
        harden_process().unwrap();
        let limits = fs::read_to_string("/proc/self/limits").unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().skip(4).collect::<Vec<_>>(), ["0", "0", "bytes"]);
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }
}
