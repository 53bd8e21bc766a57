//! Test parts: stock git as oracle, repository scenarios, transcripts, faults.
