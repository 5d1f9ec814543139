//! A revisioned key-value store: one writer, group commit, snapshots, one ordered log of changes. It knows bytes and keys, no kinds.
