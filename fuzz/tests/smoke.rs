//! Every target over its seeds and some thousand mutations of them. Not a search, which is libFuzzer's work: it keeps
//! the targets compiling and finds what is broken at once. The same run every time.

use std::fs;
use std::path::{Path, PathBuf};

use goldseal_fuzz::{TARGETS, Target};

/// Seeds above this are real images: too slow to mutate.
const MAX_SEED: usize = 64 << 10;

#[test]
fn every_target_survives_its_seeds_and_their_mutations() {
    for target in TARGETS {
        let seeds = seeds(target);
        seeds.iter().for_each(|seed| (target.run)(seed));
        let mutable: Vec<&Vec<u8>> = seeds.iter().filter(|seed| seed.len() <= MAX_SEED).collect();
        let mut random = Random::named(target.name);
        assert!(mutable.len() > 1, "{} has no seed to start from", target.name);
        for _ in 0..target.runs {
            let input =
                mutated(mutable[random.below(mutable.len())], mutable[random.below(mutable.len())], &mut random);
            (target.run)(&input);
        }
        println!("{}: {} seeds, {} mutations", target.name, seeds.len(), target.runs);
    }
}

/// Each target has its libFuzzer binary, and each binary its target.
#[test]
fn every_target_has_a_binary() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz_targets");
    let mut binaries: Vec<PathBuf> = files(&folder);
    let mut expected: Vec<PathBuf> =
        TARGETS.iter().map(|target| folder.join(target.name).with_extension("rs")).collect();
    binaries.sort();
    expected.sort();
    assert_eq!(binaries, expected);
}

fn seeds(target: &Target) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut seeds = vec![Vec::new()];
    seeds.extend((target.seeds)());
    for folder in target.folders {
        let mut files = files(&root.join(folder));
        files.retain(|file| file.extension().is_some_and(|extension| extension == "img"));
        assert!(!files.is_empty(), "{folder} has moved");
        files.sort();
        seeds.extend(files.iter().map(|file| fs::read(file).expect("a fixture is readable")));
    }
    seeds
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.expect("a folder of this project").path()).filter(|path| path.is_file()).collect()
}

/// `seed` with one to four changes, some of them pieces of `other`.
fn mutated(seed: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut input = seed.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(input.len() + 1);
        let end = (at + random.below(16)).min(input.len());
        match random.below(7) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => input[at] = *random.pick(b"\0\n\r\\/ .0f:\x7f\x80\xff"),
            2 => input.truncate(at),
            3 => drop(input.drain(at..end)),
            4 => drop(input.splice(at..at, [*random.pick(b"\0\n\\/ 0a\xff")])),
            5 => {
                let piece = input[at..end].to_vec();
                input.splice(at..at, piece);
            }
            _ => {
                let from = random.below(other.len() + 1);
                let to = (from + random.below(64)).min(other.len());
                input.splice(at..end, other[from..to].iter().copied());
            }
        }
    }
    input
}

/// Xorshift64 (Marsaglia 2003): the same numbers on every machine.
struct Random(u64);

impl Random {
    /// Numbers that depend on `name` alone (FNV-1a).
    fn named(name: &str) -> Self {
        Self(
            name.bytes()
                .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)),
        )
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    fn pick<'a>(&mut self, from: &'a [u8]) -> &'a u8 {
        &from[self.below(from.len())]
    }
}
