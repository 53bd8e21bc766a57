//! Whether anything is missing below what was pushed.

