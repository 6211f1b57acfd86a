//! Who answers External metrics, told when it changes: in the log, on `/metrics` and in the status API. And the way to
//! KEDA's metrics server, kept at what configuration and files say.

use std::{
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

use plimsoll_core::coexistence::{ExternalApi, Owner};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    api::{Upstream, upstream},
    config::{Configuration, keda},
};

/// How often the files of the way to KEDA are looked at: a token of a ServiceAccount is renewed every 48 minutes.
const LOOK: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Label {
    owner: &'static str,
}

/// Says what has changed, once.
#[derive(Clone, Debug, Default)]
pub(super) struct Teller {
    owner: Family<Label, Gauge<i64, AtomicI64>>,
    available: Gauge<i64, AtomicI64>,
    told: Option<(ExternalApi, bool)>,
}

// === impl Teller ===

impl Teller {
    /// Registers the gauges.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let teller = Self::default();
        let help = "1 for the owner of the APIService v1beta1.external.metrics.k8s.io";
        registry.register("external_metrics_api_owner", help, teller.owner.clone());
        let help = "1 while kube-apiserver calls that APIService available";
        registry.register("external_metrics_api_available", help, teller.available.clone());
        teller
    }

    /// Tells how things stand if it is not as it was.
    pub(super) fn tell(&mut self, api: Option<&ExternalApi>, passes_on: bool) {
        let Some(api) = api else { return };
        if self.told.as_ref().is_some_and(|(told, way)| told == api && *way == passes_on) {
            return;
        }
        for owner in Owner::LABELS {
            self.owner.get_or_create(&Label { owner }).set(i64::from(owner == api.owner.label()));
        }
        let is_there = !matches!(api.owner, Owner::Nobody | Owner::Unknown(_));
        self.available.set(i64::from(is_there && api.unavailable.is_none()));
        let (owner, coexistence) = (api.owner.label(), api.coexistence(passes_on));
        let sentence = api.sentence(passes_on);
        let was_ours = self.told.as_ref().is_some_and(|(told, _)| told.owner == Owner::Ours);
        if was_ours && api.elsewhere().is_some() {
            tracing::warn!(owner, ?coexistence, "External metrics were ours and are not any more: {sentence}");
        } else if api.unavailable.is_some() || (passes_on && api.elsewhere().is_some()) {
            tracing::warn!(owner, ?coexistence, "{sentence}");
        } else {
            tracing::info!(owner, ?coexistence, "{sentence}");
        }
        self.told = Some((api.clone(), passes_on));
    }
}

/// What the status API shows.
pub(super) fn report(api: Option<&ExternalApi>, upstream: &Upstream) -> Value {
    let way = upstream.way();
    let keda = way.as_ref().map(|way| json!({ "url": way.url, "problem": way.problem }));
    let Some(api) = api else { return json!({ "asked": false, "keda": keda }) };
    let passes_on = way.is_some();
    json!({
        "asked": true, "externalMetrics": api, "coexistence": api.coexistence(passes_on),
        "meaning": api.sentence(passes_on), "keda": keda,
    })
}

/// Keeps the way to KEDA at what the configuration says and its files hold. Never ends.
pub(super) async fn follow(upstream: Arc<Upstream>, mut configuration: watch::Receiver<Arc<Configuration>>) {
    loop {
        let settings = configuration.borrow_and_update().keda.as_ref().map(settings);
        upstream.renew(settings.as_ref()).await;
        // Both arms are cancel safe. A configuration that is final leaves the files to be looked at.
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            Ok(()) = configuration.changed() => {}
        }
    }
}

fn settings(keda: &keda::Keda) -> upstream::Settings {
    let identity = match &keda.identity {
        keda::Identity::Token(file) => upstream::Identity::Token(file.clone()),
        keda::Identity::Certificate { certificate, key } => {
            upstream::Identity::Certificate { certificate: certificate.clone(), key: key.clone() }
        }
    };
    let url = keda.url.to_string();
    upstream::Settings { url, ca_file: keda.ca_file.clone(), identity, timeout: keda.timeout }
}

#[cfg(test)]
mod tests {
    use plimsoll_core::object::ObjectKey;

    use super::*;

    fn owned_by(owner: Owner) -> ExternalApi {
        ExternalApi { owner, unavailable: None }
    }

    #[test]
    fn the_gauges_show_one_owner_and_whether_it_can_be_asked() {
        let mut registry = Registry::default();
        let mut teller = Teller::register(&mut registry);
        let mut shown = |api: &ExternalApi| {
            teller.tell(Some(api), false);
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            let ones = text.lines().filter(|line| line.ends_with(" 1")).map(str::to_owned);
            ones.collect::<Vec<_>>()
        };
        let owner = |owner: &str| format!("external_metrics_api_owner{{owner=\"{owner}\"}} 1");
        let available = || "external_metrics_api_available 1".to_owned();
        assert_eq!(shown(&owned_by(Owner::Ours)), [owner("ours"), available()]);
        let kedas = ExternalApi { unavailable: Some("x".to_owned()), ..owned_by(Owner::Keda(ObjectKey::default())) };
        assert_eq!(shown(&kedas), [owner("keda")]);
        assert_eq!(shown(&owned_by(Owner::Nobody)), [owner("nobody")]);
    }

    #[tokio::test]
    async fn the_report_names_the_way_to_keda_and_what_is_wrong_with_it() {
        let upstream = Upstream::default();
        assert_eq!(report(None, &upstream), json!({ "asked": false, "keda": null }));
        let settings = upstream::Settings {
            url: "https://keda:443/".to_owned(),
            ca_file: "/nowhere/ca.crt".into(),
            identity: upstream::Identity::Token("/nowhere/token".into()),
            timeout: LOOK,
        };
        upstream.renew(Some(&settings)).await;
        let report = report(Some(&owned_by(Owner::Ours)), &upstream);
        assert_eq!(
            (&report["coexistence"], &report["externalMetrics"]["owner"]),
            (&json!("inFrontOfKeda"), &json!("ours"))
        );
        let problem = report["keda"]["problem"].as_str().unwrap();
        assert!(problem.contains("/nowhere/ca.crt"), "{problem}");
    }
}
