//! Who answers External metrics: one small read every now and then of the one APIService. It is never written.
//!
//! An APIService that is not there is an answer; so is one that may not be read, which the log says once.

use plimsoll_core::{
    cluster::Change,
    coexistence::{API_SERVICE, ExternalApi},
    object::ApiService,
};
use tokio::time::sleep;
use tracing::warn;

use super::{
    health::Feed,
    request::{self, Failure},
    watch::{Backoff, Context, Error, Quiet},
};
use crate::clock;

/// Largest answer that is read, in bytes: an APIService is a few hundred, with a bundle of authorities some ten
/// thousand.
const MAX_ANSWER: usize = 1024 * 1024;

/// Looks until nobody reads the changes any more.
pub(crate) async fn run(context: Context) -> Result<(), Error> {
    let (mut last, mut quiet, mut backoff) = (None, Quiet::default(), Backoff::default());
    loop {
        let wait = match look(&context, &mut quiet).await {
            Ok(found) => {
                context.health.heard(Feed::ApiService, clock::now());
                if last.as_ref() != Some(&found) {
                    context.send(Change::ExternalApi(found.clone())).await?;
                    last = Some(found);
                }
                context.health.listed(Feed::ApiService, []);
                backoff.reset();
                context.settings.api_service_interval
            }
            Err(failure) => {
                context.health.failed(Feed::ApiService, failure.to_string());
                if quiet.speak(&failure) {
                    warn!(%failure, "cannot look who answers External metrics");
                }
                backoff.next(&failure)
            }
        };
        sleep(wait).await;
    }
}

async fn look(context: &Context, quiet: &mut Quiet) -> Result<ExternalApi, Failure> {
    let path = format!("/apis/apiregistration.k8s.io/v1/apiservices/{API_SERVICE}");
    let patience = context.settings.call_timeout;
    match request::get::<ApiService>(&context.client, &path, MAX_ANSWER, patience).await {
        Ok(found) => Ok(ExternalApi::of(Some(&found), &context.settings.service)),
        Err(failure) if failure.is(404) => Ok(ExternalApi::of(None, &context.settings.service)),
        Err(failure) if failure.is(403) => {
            if quiet.speak_once(&failure) {
                warn!(%failure, "not permitted to look who answers External metrics");
            }
            let cure = "grant get on apiservices in the API group apiregistration.k8s.io";
            Ok(ExternalApi::unknown(format!("it may not be read: {cure}")))
        }
        Err(failure) => Err(failure),
    }
}
