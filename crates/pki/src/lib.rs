//! The certificate authority, certificates, and tokens of a cluster.
