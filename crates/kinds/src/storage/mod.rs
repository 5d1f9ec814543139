//! `storage.k8s.io`: where volumes come from.

pub mod minor;
pub mod storage_class;
