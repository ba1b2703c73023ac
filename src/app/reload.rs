//! Reading the files again, by signal or by order: over when every part serves by them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::config::Settings;
use crate::control::Control;
use crate::error::ClientError;
use crate::http::ReloadMetrics;

/// The parts take settings within moments; nobody waits for ever for a part that does not.
const APPLY_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(super) struct Reloading {
    control: Arc<Control>,
    /// The settings that the parts were told last.
    applied: watch::Receiver<Arc<Settings>>,
    metrics: ReloadMetrics,
}

impl Reloading {
    pub(super) fn new(
        control: Arc<Control>,
        applied: watch::Receiver<Arc<Settings>>,
        metrics: ReloadMetrics,
    ) -> Reloading {
        Reloading { control, applied, metrics }
    }

    /// Reloads, counts how it ended, and says what changed or what is wrong. A user that was added can log in afterwards.
    pub(super) async fn reload(&self) -> Result<String, ClientError> {
        match self.control.reload().await {
            Ok(differences) => {
                self.until_applied().await;
                self.metrics.applied();
                Ok(if differences.is_empty() { "nothing changed".to_owned() } else { differences.join("; ") })
            }
            Err(faults) => {
                self.metrics.refused();
                let faults: Vec<String> = faults.0.iter().map(ToString::to_string).collect();
                Err(ClientError::new("SW1504", faults.join("; ")))
            }
        }
    }

    async fn until_applied(&self) {
        let (mut applied, settings) = (self.applied.clone(), self.control.settings());
        let current = applied.wait_for(|applied| Arc::ptr_eq(applied, &settings.borrow()));
        if !matches!(tokio::time::timeout(APPLY_TIMEOUT, current).await, Ok(Ok(_))) {
            tracing::warn!("the settings were read, but not every part has taken them yet");
        }
    }
}
