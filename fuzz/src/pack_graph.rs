//! Any bytes as a commit-graph, alone and as the first layer of a chain.

use bytes::Bytes;
use object::HashKind;
use pack::graph::bloom::PathKey;
use pack::{CommitGraph, Error};

pub(crate) fn run(bytes: &[u8]) {
    let hash = HashKind::Sha1;
    let bytes = Bytes::copy_from_slice(bytes);
    if let Ok(graph) = CommitGraph::open(bytes.clone(), hash) {
        ask(&graph);
    }
    let chain = format!("{0}\n{0}\n", "0123456789".repeat(4));
    let load = |_: &str| Ok::<_, Error>(Some(bytes.clone()));
    if let Ok(Some(graph)) = CommitGraph::open_chain(chain.as_bytes(), hash, load) {
        ask(&graph);
    }
}

fn ask(graph: &CommitGraph) {
    for position in 0..graph.count() {
        let _ = graph.lookup(&graph.id_at(position));
        let _ = (graph.commit_at(position), graph.generation_at(position));
        let filter = graph.filter_at(position);
        let _ = filter.map(|filter| filter.might_contain(&PathKey::new(b"a/b")));
        let parents = graph.parents_at(position).expect("a commit of the graph");
        for parent in parents.take(1000) {
            assert!(parent.is_err() || parent.is_ok_and(|parent| parent < graph.count()));
        }
    }
    let _ = graph.verify_checksums();
}
