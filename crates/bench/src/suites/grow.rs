//! What a clone costs when the repository grows.

use super::{Bench, Shown};
use crate::Outcome;
use crate::protocol::Fetch;

/// Objects of the smallest repository; each further one has four times as many.
const OBJECTS_MIN: usize = 10_000;

pub(crate) fn run(bench: &mut Bench<'_>) -> Outcome<()> {
    let most = bench.arguments.grow_to;
    let sizes = std::iter::successors(Some(OBJECTS_MIN), |size| size.checked_mul(4));
    for objects in sizes.take_while(|size| *size <= most) {
        let dir = bench.fixtures.of_size(bench.programs.git(), objects)?;
        let shown = [
            Shown::Cpu(None),
            Shown::FirstByte(None),
            Shown::Anonymous(None),
            Shown::PackSize(None),
        ];
        let case = format!("{objects} objects, bitmap");
        bench.over_streams(("grow", &case), &dir, &shown, |client, first| {
            let (_, wants) = client.ls_refs()?;
            client.fetch(&Fetch { wants: &wants, ..Fetch::default() }, first)
        })?;
    }
    Ok(())
}
