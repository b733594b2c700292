//! goldseal-tenant: provisions machines and policies at a goldseal-verifier.

fn main() {}
