//! Files beside packs, written so that later requests are cheap. They change nothing of what a
//! repository says.

pub mod bitmap;
mod changed_paths;
pub mod graph;
pub mod midx;
mod select;
