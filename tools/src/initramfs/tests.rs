//! What the kernel really did with each image, and one test for each rule.

use std::fs;
use std::path::{Path, PathBuf};

use goldseal_verifier_core::digest::HashAlgorithm;
use goldseal_verifier_core::path::{escape, needs_escape};

use super::*;

mod edge;
