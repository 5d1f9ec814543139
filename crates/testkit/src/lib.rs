//! What the end-to-end tests stand on: clusters of their own, kubectl, Helm, conditions.
