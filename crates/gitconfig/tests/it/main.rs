//! Compares what is read with what stock git reads.

mod oracle;
mod values;
