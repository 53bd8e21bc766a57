//! Partial clones: everything but blobs.

use super::{Bench, Shown};
use crate::Outcome;
use crate::protocol::Fetch;
use crate::report::Goal;

pub(crate) fn run(bench: &mut Bench<'_>) -> Outcome<()> {
    let git = bench.programs.git();
    let bitmapped = bench.fixtures.bitmapped(git)?;
    let plain = bench.fixtures.plain().to_owned();
    for (case, dir) in [("blob:none, bitmap", bitmapped), ("blob:none, no bitmap", plain)] {
        git.ok(&dir, &["config", "uploadpack.allowFilter", "true"]);
        let shown = [
            Shown::Cpu(Some(Goal::Ratio(0.3))),
            Shown::Wall(None),
            Shown::Anonymous(Some(Goal::AtMost(16.0 * super::MIB))),
            Shown::PackSize(None),
        ];
        bench.over_streams(("filter", case), &dir, &shown, |client, first| {
            let (_, wants) = client.ls_refs()?;
            let filter = Some("blob:none");
            client.fetch(&Fetch { wants: &wants, filter, ..Fetch::default() }, first)
        })?;
    }
    Ok(())
}
