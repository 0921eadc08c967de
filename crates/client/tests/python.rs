//! The Python package beside this crate: its own tests, run by the one command that runs all tests.

use std::path::Path;
use std::process::Command;

#[test]
fn the_tests_of_the_python_package_pass() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../python");
    let mut python = Command::new("python3");
    // Warnings are errors, as of sockets that are left open.
    python.args(["-W", "error", "-m", "unittest", "discover"]);
    // No bytecode in the source tree.
    python.env("PYTHONDONTWRITEBYTECODE", "1").current_dir(package);
    let output = python.output().unwrap_or_else(|error| {
        panic!("python3 does not start ({error}): install Python 3.9 or newer, which these tests need")
    });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("\nOK"), "no tests were run: {said}");
}
