//! upload-pack and receive-pack over standard input and output.
