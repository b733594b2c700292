//! The tree that Linux builds from an initramfs, as a model: names in directories, inodes behind them, digests in those.
//!
//! Each function does what `init/initramfs.c` has the kernel's file system do for one record, including what surprises:
//! a file is rewritten in place when it exists, so its other names change with it; a hard link is made to whatever
//! stands under the first name *now*; a record whose folder is missing leaves nothing and no complaint. Names are looked up
//! as `link_path_walk` does (fs/namei.c), symbolic links included.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use goldseal_verifier_core::digest::Digest;
use goldseal_verifier_core::path::MAX_PATH_LEN;

use super::{Filesystem, Limit, Limits, Skip};
use crate::measured::MeasuredFile;

/// Why a record leaves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Linux skips it.
    Skip(Skip),
    /// A limit is exceeded: the image is refused.
    Limit(Limit),
}

/// Device, inode number and type of a hard-linked file.
pub(super) type LinkKey = ((u32, u32, u32), u16);

/// The tree.
#[derive(Debug)]
pub(super) struct Rootfs {
    nodes: Vec<Node>,
    /// The first name of each hard-linked file since the last trailer (`find_link`).
    links: HashMap<LinkKey, Box<[u8]>>,
    /// Digests of no bytes.
    empty: Contents,
    lookups_left: u64,
}

#[derive(Debug)]
enum Node {
    Directory {
        entries: BTreeMap<Box<[u8]>, NodeId>,
        parent: NodeId,
        /// Length of its absolute path, 0 for the root.
        path_len: usize,
    },
    File(Contents),
    Symlink(Arc<[u8]>),
    /// A device, FIFO or socket, with its type.
    Special(u16),
}

/// What is known of a file's contents.
#[derive(Clone, Debug)]
pub(super) struct Contents {
    pub(super) digests: Box<[Digest]>,
    pub(super) filesystem: Option<Filesystem>,
}

/// A file to write to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opened {
    file: NodeId,
    /// It is a further name of an existing file: without a body, that keeps its contents.
    linked: bool,
}

type NodeId = usize;

impl Rootfs {
    /// The tree before any initramfs: what the archive built into every kernel makes (usr/default_cpio_list).
    pub(super) fn new(empty: Box<[Digest]>, limits: &Limits) -> Self {
        let root = Node::Directory { entries: BTreeMap::new(), parent: ROOT, path_len: 0 };
        let mut rootfs = Self {
            nodes: vec![root],
            links: HashMap::new(),
            empty: Contents { digests: empty, filesystem: None },
            lookups_left: u64::MAX,
        };
        let built_in = rootfs
            .directory(b"/dev")
            .and_then(|()| rootfs.special(b"/dev/console", S_IFCHR, None))
            .and_then(|()| rootfs.directory(b"/root"));
        built_in.expect("an empty tree has room for three names");
        rootfs.lookups_left = limits.lookups;
        rootfs
    }

    /// A trailer: hard links do not reach beyond it.
    pub(super) fn trailer(&mut self) {
        self.links.clear();
    }

    /// A regular file: makes or finds it; [`Self::write`] gives it its contents.
    pub(super) fn open(&mut self, name: &[u8], link: Option<LinkKey>) -> Result<Opened, Refusal> {
        let first = self.first_name(name, link);
        let mut place = self.cleaned(name, S_IFREG)?;
        let linked = first.is_some();
        if let Some(first) = first {
            place = self.link(&first, name)?;
        }
        // Only a name just linked to a symbolic link can be one here: then Linux writes through it.
        for _ in 0..=MAX_SYMLINKS {
            match self.entry(&place).map(|node| (node, &self.nodes[node])) {
                None => {
                    let file = self.create(&place, Node::File(self.empty.clone()))?;
                    return Ok(Opened { file, linked });
                }
                Some((file, Node::File(_))) if !place.slash => return Ok(Opened { file, linked }),
                Some((_, Node::Symlink(target))) if !place.slash => {
                    let target = Arc::clone(target);
                    place = self.place(place.directory, &target)?;
                }
                Some((_, Node::Special(_))) => return Err(Refusal::Skip(Skip::NotRegular)),
                Some(_) => return Err(Refusal::Skip(Skip::InTheWay)),
            }
        }
        Err(Refusal::Skip(Skip::TooManyLinks))
    }

    /// Gives an opened file its contents, which are `len` bytes.
    pub(super) fn write(&mut self, opened: Opened, len: u64, contents: Contents) {
        if !opened.linked || len > 0 {
            self.nodes[opened.file] = Node::File(contents);
        }
    }

    pub(super) fn directory(&mut self, name: &[u8]) -> Result<(), Refusal> {
        let place = self.cleaned(name, S_IFDIR)?;
        if place.name.is_none()
            || matches!(self.entry(&place).map(|node| &self.nodes[node]), Some(Node::Directory { .. }))
        {
            return Ok(());
        }
        let path_len = self.path_len(&place)?;
        let made = Node::Directory { entries: BTreeMap::new(), parent: place.directory, path_len };
        // mkdir(2) takes a trailing slash.
        self.create(&Place { slash: false, ..place }, made).map(drop)
    }

    pub(super) fn symlink(&mut self, name: &[u8], target: &[u8]) -> Result<(), Refusal> {
        let place = self.cleaned(name, NO_TYPE)?;
        self.create(&place, Node::Symlink(target.into())).map(drop)
    }

    /// A device, FIFO or socket of the type `kind`.
    pub(super) fn special(&mut self, name: &[u8], kind: u16, link: Option<LinkKey>) -> Result<(), Refusal> {
        let first = self.first_name(name, link);
        let place = self.cleaned(name, kind)?;
        match first {
            Some(first) => self.link(&first, name).map(drop),
            None if self.entry(&place).is_some() => Ok(()),
            None => self.create(&place, Node::Special(kind)).map(drop),
        }
    }

    /// A record of an unknown type: makes nothing, but clears its place.
    pub(super) fn unknown(&mut self, name: &[u8], kind: u16) -> Result<(), Refusal> {
        self.cleaned(name, kind).map(drop)
    }

    /// Every name of every regular file, sorted, with the file systems found in them.
    pub(super) fn into_files(self, max_path_bytes: u64) -> Result<Vec<(MeasuredFile, Option<Filesystem>)>, Limit> {
        let mut files = Vec::new();
        let mut bytes_left = max_path_bytes;
        let mut directories = vec![(ROOT, Vec::new())];
        while let Some((directory, prefix)) = directories.pop() {
            for (name, node) in self.entries(directory) {
                let mut path = Vec::with_capacity(prefix.len() + 1 + name.len());
                path.extend_from_slice(&prefix);
                path.push(b'/');
                path.extend_from_slice(name);
                bytes_left = bytes_left.checked_sub(path.len() as u64).ok_or(Limit::PathBytes)?;
                match &self.nodes[*node] {
                    Node::Directory { .. } => directories.push((*node, path)),
                    Node::File(contents) => {
                        files.push((MeasuredFile { path, digests: contents.digests.to_vec() }, contents.filesystem));
                    }
                    Node::Symlink(_) | Node::Special(_) => {}
                }
            }
        }
        files.sort_unstable_by(|(a, _), (b, _)| a.path.cmp(&b.path));
        Ok(files)
    }

    /// `find_link`: the first name of a hard-linked file, or none if it is this one. Whether that name led anywhere does
    /// not matter.
    fn first_name(&mut self, name: &[u8], link: Option<LinkKey>) -> Option<Box<[u8]>> {
        match self.links.entry(link?) {
            Entry::Occupied(first) => Some(first.get().clone()),
            Entry::Vacant(none) => {
                none.insert(name.into());
                None
            }
        }
    }

    /// `maybe_link`: links `name` to what stands under the name `first`, which may have been the same.
    fn link(&mut self, first: &[u8], name: &[u8]) -> Result<Place, Refusal> {
        let place = self.cleaned(name, NO_TYPE)?;
        let lost = Refusal::Skip(Skip::LostLink);
        let old = match self.place(ROOT, first) {
            Err(Refusal::Skip(_)) => return Err(lost),
            place => place?,
        };
        let node = self.entry(&old).filter(|_| !old.slash).ok_or(lost)?;
        if matches!(self.nodes[node], Node::Directory { .. }) {
            return Err(lost);
        }
        if self.entry(&place).is_some() {
            return Err(Refusal::Skip(Skip::InTheWay));
        }
        self.insert(&place, node)?;
        Ok(place)
    }

    /// `clean_path`: removes what stands under `name` if it is of another type than `kind`; a directory goes only if empty.
    /// Returns where the name leads then.
    fn cleaned(&mut self, name: &[u8], kind: u16) -> Result<Place, Refusal> {
        let place = self.place(ROOT, name)?;
        let (Some(last), Some(node)) = (&place.name, self.entry(&place)) else { return Ok(place) };
        let removable = match &self.nodes[node] {
            Node::Directory { entries, .. } => kind != S_IFDIR && entries.is_empty(),
            // With a slash behind its name there is no such file.
            Node::File(_) => kind != S_IFREG && !place.slash,
            Node::Symlink(_) => kind != S_IFLNK && !place.slash,
            Node::Special(own) => kind != *own && !place.slash,
        };
        if !removable {
            return Ok(place);
        }
        if let Node::Directory { entries, .. } = &mut self.nodes[place.directory] {
            entries.remove(last);
        }
        // The name may have led over what is gone now (`l/l` with `l` a link to its own folder).
        self.place(ROOT, name)
    }

    /// Makes a node under a name that is free.
    fn create(&mut self, place: &Place, node: Node) -> Result<NodeId, Refusal> {
        if place.name.is_none() || self.entry(place).is_some() {
            return Err(Refusal::Skip(Skip::InTheWay));
        }
        let id = self.nodes.len();
        self.insert(place, id)?;
        self.nodes.push(node);
        Ok(id)
    }

    /// Gives a node the name `place`, which is free.
    fn insert(&mut self, place: &Place, node: NodeId) -> Result<(), Refusal> {
        self.path_len(place)?;
        match (&place.name, &mut self.nodes[place.directory]) {
            // Only a directory's name may end in a slash.
            (Some(name), Node::Directory { entries, .. }) if !place.slash => {
                entries.insert(name.clone(), node);
                Ok(())
            }
            _ => Err(Refusal::Skip(Skip::InTheWay)),
        }
    }

    /// Length of the absolute path of `place`, if a list can hold it.
    fn path_len(&self, place: &Place) -> Result<usize, Refusal> {
        let Node::Directory { path_len, .. } = &self.nodes[place.directory] else {
            return Err(Refusal::Skip(Skip::NotADirectory));
        };
        let length = path_len + 1 + place.name.as_ref().map_or(0, |name| name.len());
        if length > MAX_PATH_LEN { Err(Refusal::Limit(Limit::PathLength)) } else { Ok(length) }
    }

    /// Walks to the last component of `name` without looking at it, from `start` unless `name` is absolute.
    fn place(&mut self, start: NodeId, name: &[u8]) -> Result<Place, Refusal> {
        let mut directory = if name.starts_with(b"/") { ROOT } else { start };
        let mut symlinks = 0;
        // What is left to walk: the name, and above it the targets of links met on the way.
        let mut stack: Vec<(Arc<[u8]>, usize)> = vec![(name.into(), 0)];
        while let Some((path, position)) = stack.pop() {
            let rest = &path[position..];
            let slashes = rest.iter().take_while(|byte| **byte == b'/').count();
            let rest = &rest[slashes..];
            let length = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
            let (component, behind) = rest.split_at(length);
            if component.is_empty() {
                continue;
            }
            let last = stack.is_empty() && behind.iter().all(|byte| *byte == b'/');
            self.lookups_left = self.lookups_left.checked_sub(1).ok_or(Refusal::Limit(Limit::Lookups))?;
            if component.len() > NAME_MAX {
                return Err(Refusal::Skip(Skip::ComponentTooLong));
            }
            if last && !matches!(component, b"." | b"..") {
                return Ok(Place { directory, name: Some(component.into()), slash: !behind.is_empty() });
            }
            let next = match component {
                b"." => directory,
                b".." => self.parent(directory),
                _ => *self.entries(directory).get(component).ok_or(Refusal::Skip(Skip::MissingParent))?,
            };
            let behind = path.len() - behind.len();
            stack.push((path, behind));
            match &self.nodes[next] {
                Node::Directory { .. } => directory = next,
                Node::Symlink(target) => {
                    symlinks += 1;
                    if symlinks > MAX_SYMLINKS {
                        return Err(Refusal::Skip(Skip::TooManyLinks));
                    }
                    if target.starts_with(b"/") {
                        directory = ROOT;
                    }
                    stack.push((Arc::clone(target), 0));
                }
                Node::File(_) | Node::Special(_) => return Err(Refusal::Skip(Skip::NotADirectory)),
            }
        }
        Ok(Place { directory, name: None, slash: false })
    }

    /// What stands at `place`; for a place without a name, the directory itself.
    fn entry(&self, place: &Place) -> Option<NodeId> {
        match &place.name {
            Some(name) => self.entries(place.directory).get(name).copied(),
            None => Some(place.directory),
        }
    }

    fn entries(&self, directory: NodeId) -> &BTreeMap<Box<[u8]>, NodeId> {
        match &self.nodes[directory] {
            Node::Directory { entries, .. } => entries,
            _ => &NO_ENTRIES,
        }
    }

    fn parent(&self, directory: NodeId) -> NodeId {
        match &self.nodes[directory] {
            Node::Directory { parent, .. } => *parent,
            _ => ROOT,
        }
    }
}

/// Where a name leads.
#[derive(Debug)]
struct Place {
    directory: NodeId,
    /// The last component; none if the name ends in `.` or `..` or is that of the root.
    name: Option<Box<[u8]>>,
    /// Whether a slash stands behind the last component.
    slash: bool,
}

static NO_ENTRIES: BTreeMap<Box<[u8]>, NodeId> = BTreeMap::new();
const ROOT: NodeId = 0;
/// fs/namei.c, include/linux/namei.h: `MAXSYMLINKS`.
const MAX_SYMLINKS: usize = 40;
/// include/uapi/linux/limits.h.
const NAME_MAX: usize = 255;
/// `clean_path` with this removes whatever stands there.
const NO_TYPE: u16 = 0;
// include/uapi/linux/stat.h.
pub(super) const S_IFMT: u16 = 0o170000;
pub(super) const S_IFSOCK: u16 = 0o140000;
pub(super) const S_IFLNK: u16 = 0o120000;
pub(super) const S_IFREG: u16 = 0o100000;
pub(super) const S_IFBLK: u16 = 0o060000;
pub(super) const S_IFDIR: u16 = 0o040000;
pub(super) const S_IFCHR: u16 = 0o020000;
pub(super) const S_IFIFO: u16 = 0o010000;
