//! `storage.k8s.io`: where volumes come from.

pub mod csi;
pub mod storage_class;
pub mod volume_attachment;
pub mod volume_attributes_class;
