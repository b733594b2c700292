//! A perfect world in software, in which a test breaks exactly one thing.

pub mod ak;
