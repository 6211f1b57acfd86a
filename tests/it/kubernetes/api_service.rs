//! Who answers External metrics, as it changes.

use plimsoll_core::{
    coexistence::{API_SERVICE, Owner},
    object::ObjectKey,
};
use serde_json::{Value, json};

use super::{api::Api, harness::Harness};

fn path() -> String {
    format!("/apis/apiregistration.k8s.io/v1/apiservices/{API_SERVICE}")
}

fn leads_to(namespace: &str, name: &str) -> Value {
    json!({"metadata": {"name": API_SERVICE}, "spec": {"service": {"namespace": namespace, "name": name, "port": 443}}})
}

async fn until(harness: &mut Harness, what: &str, wanted: impl Fn(&Owner) -> bool) {
    harness.until(what, |harness| harness.view.external_api.as_ref().is_some_and(|api| wanted(&api.owner))).await;
}

#[tokio::test]
async fn the_owner_is_followed_from_nobody_over_us_to_keda_and_back() {
    let mut harness = Harness::start(Api::start().await).await;
    until(&mut harness, "nobody", |owner| *owner == Owner::Nobody).await;
    harness.api.object(&path(), leads_to("plimsoll-system", "plimsoll"));
    until(&mut harness, "ours", |owner| *owner == Owner::Ours).await;
    harness.api.object(&path(), leads_to("keda", "keda-metrics-apiserver"));
    let kedas = Owner::Keda(ObjectKey::new("keda", "keda-metrics-apiserver"));
    until(&mut harness, "KEDA's", |owner| *owner == kedas).await;
    harness.api.remove(&path());
    until(&mut harness, "nobody again", |owner| *owner == Owner::Nobody).await;
    harness.stop().await;
}

#[tokio::test]
async fn rights_that_are_taken_away_make_it_unknown_and_an_outage_leaves_it_as_it_was() {
    let api = Api::start().await;
    api.object(&path(), leads_to("plimsoll-system", "plimsoll"));
    let mut harness = Harness::start(api).await;
    until(&mut harness, "ours", |owner| *owner == Owner::Ours).await;
    harness.api.refuse(&path(), 500);
    harness
        .until("the outage to be noticed", |harness| {
            let feeds = serde_json::to_value(harness.health.snapshot()).unwrap();
            feeds["apiService"]["lastError"].is_string()
        })
        .await;
    assert_eq!(harness.view.external_api.as_ref().map(|api| api.owner.clone()), Some(Owner::Ours));
    harness.api.refuse(&path(), 403);
    until(&mut harness, "unknown", |owner| matches!(owner, Owner::Unknown(reason) if reason.contains("grant get")))
        .await;
    assert!(harness.health.missing().iter().all(|(feed, _)| feed.name() != "apiservice"), "readiness does not need it");
    harness.stop().await;
}
