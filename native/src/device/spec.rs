//! A device as the daemon describes it.

use serde::{Deserialize, Serialize};

use super::shape::Shape;
use crate::error::Result;
use crate::ids::ContentId;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceSpec {
    /// Sha256 of the whole raw file.
    pub id: ContentId,
    pub size_bytes: u64,
    /// Raw bytes of each block but the last.
    pub block_bytes: u32,
}

impl DeviceSpec {
    /// # Errors
    /// [`crate::error::Code::InvalidArgument`] | [`crate::error::Code::LimitExceeded`] for what no device can be.
    pub fn shape(&self) -> Result<Shape> {
        Shape::new(self.size_bytes, self.block_bytes)
    }
}
