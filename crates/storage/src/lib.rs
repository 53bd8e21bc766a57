//! The two storage seams, RefStore and BlobStore, with strict in-memory stores and a conformance suite.
