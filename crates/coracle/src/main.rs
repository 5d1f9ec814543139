//! All of Kubernetes that a cluster needs, in one binary.

fn main() {}
