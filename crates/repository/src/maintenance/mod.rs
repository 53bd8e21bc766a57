//! Files beside packs, written so that later requests are cheap.

pub mod bitmap;
pub mod midx;
mod select;
