//! The health service of gRPC (`grpc.health.v1`): serving once the process is ready, and not any more when it drains.

use std::fmt;

use tonic_health::{
    ServingStatus,
    pb::health_server::{Health, HealthServer},
    server::{HealthReporter as Reporter, HealthService},
};

/// Names that are asked for: the whole server, and the scaler.
const SERVICES: [&str; 2] = ["", "externalscaler.ExternalScaler"];

/// Says what the health service answers. Clones share it.
#[derive(Clone)]
pub struct HealthReporter(Reporter);

/// The service, and who says what it answers.
pub(super) fn service() -> (HealthReporter, HealthServer<impl Health>) {
    let reporter = Reporter::new();
    let service = HealthServer::new(HealthService::from_health_reporter(reporter.clone()));
    (HealthReporter(reporter), service)
}

// === impl HealthReporter ===

impl HealthReporter {
    /// Sets whether the scaler serves.
    pub async fn set_ready(&self, ready: bool) {
        let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in SERVICES {
            self.0.set_service_status(service, status).await;
        }
    }
}

impl fmt::Debug for HealthReporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthReporter").finish_non_exhaustive()
    }
}
