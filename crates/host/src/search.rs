//! Finding every repository below a folder.

use std::fs;
use std::path::Path;

use crate::Location;
use crate::catalogue::repository_at;

/// A repository as it is listed at start.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// The path in its URL, `.git` included.
    pub name: String,
    /// Where it lies.
    pub location: Location,
}

impl Listed {
    /// The name with what a URL's path cannot carry percent-encoded.
    pub fn url_path(&self) -> String {
        let mut path = String::new();
        for byte in self.name.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => path.push(char::from(byte)),
                b'-' | b'.' | b'_' | b'~' | b'/' | b'+' => path.push(char::from(byte)),
                _ => path.push_str(&format!("%{byte:02X}")),
            }
        }
        path
    }
}

/// Folders inside folders that are searched for repositories.
const DEPTH_MAX: usize = 16;
/// Folders that are looked into. What lies beyond is served all the same: it is only not listed.
const FOLDERS_MAX: usize = 50_000;

/// The repositories below `folder`, at most `most`.
pub(crate) fn search(folder: &Path, most: usize) -> Vec<Listed> {
    let mut search = Search { most, folders_left: FOLDERS_MAX, found: Vec::new() };
    search.look_into(folder, "", 0);
    search.found
}

struct Search {
    most: usize,
    folders_left: usize,
    found: Vec<Listed>,
}

impl Search {
    fn look_into(&mut self, folder: &Path, prefix: &str, depth: usize) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        // Symbolic links are not followed: they may lead out of the folder, or round in circles.
        let is_folder = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
        let mut folders: Vec<_> = entries.flatten().filter(is_folder).collect();
        folders.sort_by_key(fs::DirEntry::file_name);
        for entry in folders {
            if self.found.len() >= self.most || self.folders_left == 0 {
                return;
            }
            self.folders_left -= 1;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.starts_with('.') {
                continue;
            }
            let name = format!("{prefix}{name}");
            match repository_at(&entry.path()) {
                Some(git_dir) => {
                    let stem = name.strip_suffix(".git").unwrap_or(&name);
                    let location = Location::Directory(git_dir);
                    self.found.push(Listed { name: format!("{stem}.git"), location });
                }
                None if depth < DEPTH_MAX => {
                    self.look_into(&entry.path(), &format!("{name}/"), depth + 1);
                }
                None => {}
            }
        }
    }
}
