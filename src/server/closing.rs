//! Whether a connection is about to close: what answers without end has to end then.

use tokio_util::sync::CancellationToken;

/// The end of a connection, in sight; a request extension. Clones are about the same connection.
#[derive(Clone, Debug, Default)]
pub struct Closing(CancellationToken);

// === impl Closing ===

impl Closing {
    /// Resolves when nothing new may begin on the connection.
    pub async fn begun(&self) {
        self.0.cancelled().await;
    }

    /// Nothing new may begin: everything that waits for this is told.
    pub(super) fn begin(&self) {
        self.0.cancel();
    }
}
