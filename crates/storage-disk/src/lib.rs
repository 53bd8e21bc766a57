//! Ordinary bare repositories on disk as a RefStore and a BlobStore.
