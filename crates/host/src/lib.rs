//! The only door: names to repositories, callers, access, limits.
