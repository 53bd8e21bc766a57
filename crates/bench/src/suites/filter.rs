//! Partial clones: everything but blobs.

use super::{Bench, Shown};
use crate::Outcome;
use crate::protocol::Fetch;
use crate::report::Goal;

pub(crate) fn run(bench: &mut Bench<'_>) -> Outcome<()> {
    let git = bench.programs.git();
    let bitmapped = bench.fixtures.bitmapped(git)?;
    let plain = bench.fixtures.plain().to_owned();
    // What a server does all day: the same for one client after the other.
    for (case, dir, clones) in [
        ("blob:none, bitmap", &bitmapped, 1),
        ("blob:none, bitmap, five clones in turn", &bitmapped, 5),
        ("blob:none, no bitmap", &plain, 1),
    ] {
        git.ok(dir, &["config", "uploadpack.allowFilter", "true"]);
        let shown = [
            Shown::Cpu(Some(Goal::Ratio(0.3))),
            Shown::Wall(None),
            Shown::Anonymous(Some(Goal::AtMost(16.0 * super::MIB))),
            Shown::PackSize(None),
        ];
        bench.over_streams(("filter", case), dir, &shown, |client, first| {
            let (_, wants) = client.ls_refs()?;
            let fetch = Fetch { wants: &wants, filter: Some("blob:none"), ..Fetch::default() };
            for _ in 1..clones {
                client.fetch(&fetch, first)?;
            }
            client.fetch(&fetch, first)
        })?;
    }
    Ok(())
}
