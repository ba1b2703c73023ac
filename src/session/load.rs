//! LOAD DATA LOCAL: what must be so before a server is asked.

use super::run::Session;
use crate::error::ClientError;
use crate::executor::Stream;
use crate::sql::{self, Verb};
use crate::wire::CapabilityFlags;

impl<S: Stream> Session<S> {
    /// The proxy always tells servers that it can send files: whether the client can is its own business.
    pub(super) fn may_load(&self, text: &[u8], statement: &sql::Statement) -> Result<(), ClientError> {
        let verb = sql::outline(text, statement, self.variables.context()).map(|outline| outline.verb);
        let local = matches!(verb, Ok(Verb::Load { local: true }) | Err(_));
        if local && !self.client.capabilities().contains(CapabilityFlags::CLIENT_LOCAL_FILES) {
            let detail =
                "Loading local data is disabled; this must be enabled on both the client and server sides";
            return Err(ClientError::new("SW1107", detail));
        }
        Ok(())
    }
}
