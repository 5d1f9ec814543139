//! The built-in kinds: one descriptor each, with defaults, validation, update rules and columns.
