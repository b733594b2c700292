//! What a list has that is most like something it has not: the same name in another folder, the same digest under another
//! path, a path that differs in one place.

use std::cmp::Reverse;

use goldseal_verifier_core::contents::Contents;
use goldseal_verifier_core::entries::FileDigest;
use goldseal_verifier_core::path::kernel_name;
use goldseal_verifier_core::provenance::{Fact, InputKind};

/// Most entries that are named of one kind: more say no more.
const MOST: usize = 5;

/// A path of the list with one of its digests.
pub type Listed = (Vec<u8>, FileDigest);

/// See the module; nothing in it is the path that was asked for.
#[derive(Debug, Default)]
pub struct Nearest {
    /// The same file name in other folders.
    pub same_name: Vec<Listed>,
    /// The same digest under other paths.
    pub same_digest: Vec<Listed>,
    /// Paths that differ in one place by two bytes or by an eighth of their length, the closest first.
    pub close: Vec<Listed>,
}

impl Nearest {
    /// One pass over the list.
    pub fn find(contents: &Contents, name: Option<&[u8]>, digests: &[FileDigest]) -> Self {
        let mut nearest = Self::default();
        let mut close: Vec<(usize, Listed)> = Vec::new();
        for entry in contents.entries() {
            let Some(digest) = FileDigest::parse(entry.digest) else { continue };
            let listed = kernel_name(&entry.path);
            if name == Some(&*listed) {
                continue;
            }
            let here = || (entry.path.to_vec(), digest);
            if digests.contains(&digest) && nearest.same_digest.len() < MOST {
                nearest.same_digest.push(here());
            }
            let Some(name) = name else { continue };
            if file_name(name) == file_name(&listed) {
                if nearest.same_name.len() < MOST {
                    nearest.same_name.push(here());
                }
            } else if let Some(shared) = shared(name, &listed)
                && (close.len() < MOST || close.last().is_some_and(|(least, _)| shared > *least))
            {
                close.push((shared, here()));
                close.sort_by_key(|(shared, _)| Reverse(*shared));
                close.truncate(MOST);
            }
        }
        nearest.close = close.into_iter().map(|(_, listed)| listed).collect();
        nearest
    }

    /// Each kind with its words.
    pub fn kinds(&self) -> [(&'static str, &[Listed]); 3] {
        [("same name", &self.same_name), ("same digest", &self.same_digest), ("close", &self.close)]
    }
}

fn file_name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

/// Bytes that two paths share before and after one place, if what differs there is two bytes, or an eighth of the longer.
fn shared(a: &[u8], b: &[u8]) -> Option<usize> {
    let before = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let (rest_a, rest_b) = (&a[before..], &b[before..]);
    let after = rest_a.iter().rev().zip(rest_b.iter().rev()).take_while(|(a, b)| a == b).count();
    let shared = before + after;
    let longer = a.len().max(b.len());
    (longer - shared <= (longer / 8).max(2)).then_some(shared)
}

/// The inputs of a list that may have given it this path, as its provenance says. One is certain; of several it does not
/// say which. A path of the building machine gives what is below it, also under an `--extra-prefix`.
pub fn inputs<'c>(contents: &'c Contents, path: &[u8]) -> Vec<(InputKind, &'c [u8])> {
    let inputs = contents.provenance().as_slice().iter().filter_map(|fact| match fact {
        Fact::Input { kind, name, .. } => Some((*kind, name.as_slice())),
        _ => None,
    });
    let may_give = |(kind, name): &(InputKind, &[u8])| {
        let target = name.split(|byte| *byte == b'=').next().unwrap_or(name);
        *kind != InputKind::Path || ends_below(path, target.strip_suffix(b"/").unwrap_or(target))
    };
    inputs.filter(may_give).collect()
}

/// Whether the path, or what is left of it without some first folders, is `folder` or below it.
fn ends_below(path: &[u8], folder: &[u8]) -> bool {
    let starts = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| &path[at..]);
    starts
        .into_iter()
        .any(|rest| rest.strip_prefix(folder).is_some_and(|below| below.is_empty() || below.starts_with(b"/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_close_if_they_differ_in_one_place() {
        assert_eq!(shared(b"/lib/modules/6.1.0-30/a.ko", b"/lib/modules/6.1.0-31/a.ko"), Some(25));
        assert_eq!(shared(b"/usr/bin/head", b"/usr/bin/sed"), None);
        assert_eq!(shared(b"/opt/evil2.sh", b"/opt/evil.sh"), Some(12));
        assert_eq!(shared(b"/aaaa", b"/aaaaaaa"), None);
        assert_eq!(shared(b"/aaaaaaa", b"/aaaaaaaa"), Some(8));
        assert_eq!(shared(b"/usr/bin/a", b"/opt/app/b"), None);
    }

    #[test]
    fn a_path_is_below_a_folder_also_behind_a_prefix() {
        for (path, folder, expected) in [
            ("/usr/bin/x", "/usr/bin", true),
            ("/usr/bin", "/usr/bin", true),
            ("/sysroot/usr/bin/x", "/usr/bin", true),
            ("/usr/binary", "/usr/bin", false),
            ("/opt/x", "/usr/bin", false),
            ("/opt/x", "", true),
        ] {
            assert_eq!(ends_below(path.as_bytes(), folder.as_bytes()), expected, "{path} {folder}");
        }
    }
}
