//! Programs of others that the project installs below its own build folder.

use std::path::PathBuf;

/// The folder with git-annex and its programs, of the version the tests are made for.
///
/// # Panics
/// When they are not installed: `cargo xtask services` does that.
pub fn installed_programs() -> PathBuf {
    let test = std::env::current_exe().expect("a program");
    let folders = test.ancestors().map(|folder| folder.join("services/bin"));
    let found = folders.into_iter().find(|folder| folder.join("git-annex").is_file());
    found.expect("git-annex is not installed; `cargo xtask services` does that")
}
