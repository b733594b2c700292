//! The command line, word for word. `TRYCMD=overwrite cargo test -p goldseal-tenant help_and_errors` writes down what the
//! program says now: read the diff.

#[test]
fn help_and_errors() {
    let cases = trycmd::TestCases::new();
    cases.register_bin("goldseal-tenant", trycmd::schema::Bin::Path(crate::fake::PROGRAM.into()));
    cases.case("tests/cmd/*.trycmd");
}
