//! What stands where a new file shall be: nothing untracked may be lost.

use std::io;

use bstr::{BStr, BString};

use super::Refused;
use super::plan::{Plan, Written};
use super::work_root::{WorkRoot, above, is_directory};

/// Refuses a plan that would write over an untracked file, ignored ones included.
pub(super) fn check(plan: &Plan, root: &WorkRoot) -> Result<(), Refused> {
    for write in &plan.written {
        let found = in_the_way(plan, root, write).map_err(|error| {
            Refused::not_updated(format!("cannot look at '{}': {error}", write.file.path))
        })?;
        if let Some(path) = found {
            let words = format!("untracked '{path}' would be overwritten");
            return Err(Refused::not_updated(words));
        }
    }
    Ok(())
}

fn in_the_way(plan: &Plan, root: &WorkRoot, write: &Written) -> io::Result<Option<BString>> {
    let path: &BStr = write.file.path.as_ref();
    for directory in above(path) {
        match root.look(directory)? {
            None => return Ok(None),
            Some(found) if is_directory(&found) => {}
            Some(_) => return Ok((!plan.removes(directory)).then(|| directory.to_owned())),
        }
    }
    match root.look(path)? {
        None => Ok(None),
        Some(found) if is_directory(&found) => match write.file.mode.is_submodule() {
            true => Ok(None),
            false => untracked_below(plan, root, path),
        },
        // What it replaces is known to be unchanged; a file in a submodule's place is not.
        Some(_) => {
            let tracked = write.replaces.as_ref().is_some_and(|entry| !entry.mode.is_submodule());
            Ok((!tracked).then(|| path.to_owned()))
        }
    }
}

/// Something in a directory that does not go away with the plan.
fn untracked_below(plan: &Plan, root: &WorkRoot, path: &BStr) -> io::Result<Option<BString>> {
    let mut directories = vec![path.to_owned()];
    while let Some(directory) = directories.pop() {
        for name in root.names(directory.as_ref())? {
            let path = BString::from([&directory[..], b"/", &name].concat());
            match root.look(path.as_ref())? {
                Some(found) if is_directory(&found) => directories.push(path),
                Some(_) if !plan.removes(path.as_ref()) => return Ok(Some(path)),
                _ => {}
            }
        }
    }
    Ok(None)
}
