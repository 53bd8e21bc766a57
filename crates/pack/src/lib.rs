//! Git's pack-related formats over byte slices: entries, deltas, indices, bitmaps, commit-graph.
