//! Giving up what only the start needs: root, for a TPM's device and the kernel's lists.
//!
//! The order is what counts: supplementary groups, group, user; afterwards the first two could not be changed, and before
//! the third it would be root who runs on. Promises: it is for all threads of the process (setuid(2) of the C library,
//! not the system call), it cannot be taken back, and whatever of it fails is an error after which nothing must run.

use std::fmt;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::unistd::{self, Gid, Group, Uid, User};

/// Whom to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    uid: Uid,
    gid: Gid,
}

impl Account {
    /// Looks a user up, and a group if it is to be another than the user's own.
    ///
    /// # Errors
    /// [`PrivilegeError`].
    pub fn find(user: &str, group: &str) -> Result<Self, PrivilegeError> {
        let unknown = || PrivilegeError::NoUser { user: user.to_owned() };
        let found = User::from_name(user).map_err(PrivilegeError::LookUp)?.ok_or_else(unknown)?;
        let gid = match group {
            "" => found.gid,
            name => {
                let unknown = || PrivilegeError::NoGroup { group: name.to_owned() };
                Group::from_name(name).map_err(PrivilegeError::LookUp)?.ok_or_else(unknown)?.gid
            }
        };
        if found.uid.is_root() {
            return Err(PrivilegeError::Root { user: user.to_owned() });
        }
        Ok(Self { uid: found.uid, gid })
    }

    /// Its user id.
    pub fn uid(&self) -> u32 {
        self.uid.as_raw()
    }
}

/// Neither this process nor what it might start gains anything from set-user-id files (prctl(2), PR_SET_NO_NEW_PRIVS).
/// It is for this thread and those that it will start: to be called first.
///
/// # Errors
/// [`PrivilegeError::System`].
pub fn gain_none() -> Result<(), PrivilegeError> {
    prctl::set_no_new_privs().map_err(|errno| PrivilegeError::System { call: "prctl", errno })
}

/// Becomes `account`, in all threads and for good. One supplementary group is kept if it is given: that of the TPM's
/// device, so that a lost TPM can be opened again.
///
/// # Errors
/// [`PrivilegeError`]; what was given up by then stays so, and the process must end.
pub fn become_account(account: &Account, device: Option<u32>) -> Result<(), PrivilegeError> {
    let failed = |call| move |errno| PrivilegeError::System { call, errno };
    let groups: Vec<Gid> = device.filter(|gid| *gid != 0).map(Gid::from_raw).into_iter().collect();
    unistd::setgroups(&groups).map_err(failed("setgroups"))?;
    unistd::setgid(account.gid).map_err(failed("setgid"))?;
    unistd::setuid(account.uid).map_err(failed("setuid"))?;
    // As root, setgid(2) and setuid(2) set the real, effective and saved ids; that is looked at and not believed.
    let (users, rights) =
        (unistd::getresuid().map_err(failed("getresuid"))?, unistd::getresgid().map_err(failed("getresgid"))?);
    let is_user = [users.real, users.effective, users.saved].iter().all(|uid| *uid == account.uid);
    let is_group = [rights.real, rights.effective, rights.saved].iter().all(|gid| *gid == account.gid);
    if !is_user || !is_group || unistd::setuid(Uid::from_raw(0)).is_ok() {
        return Err(PrivilegeError::Kept);
    }
    Ok(())
}

/// Why privileges could not be given up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PrivilegeError {
    /// The user database cannot be read.
    LookUp(Errno),
    /// There is no such user.
    NoUser {
        /// As it was given.
        user: String,
    },
    /// There is no such group.
    NoGroup {
        /// As it was given.
        group: String,
    },
    /// That would give up nothing.
    Root {
        /// As it was given.
        user: String,
    },
    /// A system call failed.
    System {
        /// Which.
        call: &'static str,
        /// How.
        errno: Errno,
    },
    /// They were given up and are there.
    Kept,
}

impl fmt::Display for PrivilegeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LookUp(errno) => write!(f, "users and groups cannot be looked up: {}", errno.desc()),
            Self::NoUser { user } => write!(f, "there is no user {user:?}"),
            Self::NoGroup { group } => write!(f, "there is no group {group:?}"),
            Self::Root { user } => write!(f, "the user {user:?} is root"),
            Self::System { call, errno } => write!(f, "privileges cannot be given up: {call}: {}", errno.desc()),
            Self::Kept => f.write_str("privileges were given up and are still there"),
        }
    }
}

impl PrivilegeError {
    /// What to do.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::NoUser { .. } => {
                "make it: systemd-sysusers packaging/goldseal-agent.sysusers; or configure another user"
            }
            Self::NoGroup { .. } => "make it, or configure another group",
            Self::Root { .. } => "configure another user, or none if it is to stay root",
            Self::System { errno: Errno::EPERM, .. } => "start it as root, or configure no user",
            _ => "look at the limits and the sandbox of this unit",
        }
    }
}

impl std::error::Error for PrivilegeError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_looked_up() {
        let nobody = Account::find("nobody", "").unwrap();
        assert_ne!(nobody.uid(), 0);
        let other = Account::find("nobody", "daemon").unwrap();
        assert_eq!(other.uid, nobody.uid);
        assert_ne!(other.gid, nobody.gid);
        assert_eq!(Account::find("root", ""), Err(PrivilegeError::Root { user: "root".to_owned() }));
        let none = "no-such-user-here";
        assert_eq!(Account::find(none, ""), Err(PrivilegeError::NoUser { user: none.to_owned() }));
        assert_eq!(Account::find("nobody", none), Err(PrivilegeError::NoGroup { group: none.to_owned() }));
    }
}
