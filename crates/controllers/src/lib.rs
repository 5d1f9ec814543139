//! The control loops, one a file: a pure plan and an apply.
