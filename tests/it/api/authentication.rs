//! Who is asking: the whole matrix, over TLS.

use http::StatusCode;
use rcgen::ExtendedKeyUsagePurpose;
use serde_json::json;

use super::{
    certificates::{Authority, Leaf, Pair},
    kube_apiserver::Mood,
    world::{METRIC, Setup, World},
};

/// What a forger would love to be.
const FORGED: [(&str, &str); 2] = [("x-remote-user", "admin"), ("x-remote-group", "system:masters")];

/// `pair` with forged headers is refused, and nobody is asked about it.
async fn is_refused(world: &World, pair: Option<&Pair>) {
    let reply = world.caller(pair).ask(METRIC, &FORGED).await;
    assert_eq!((reply.status, reply.message().as_str()), (StatusCode::UNAUTHORIZED, "Unauthorized"));
    assert_eq!(world.kube.accesses(), Vec::<serde_json::Value>::new());
}

#[tokio::test]
async fn headers_without_a_certificate_mean_nothing() {
    is_refused(&World::start().await, None).await;
}

#[tokio::test]
async fn a_client_certificate_is_its_own_name_whatever_its_headers_say() {
    let world = World::start().await;
    let pair = world.clients.leaf(&Leaf { name: "alice", group: Some("team-a"), ..Leaf::default() });
    assert_eq!(world.caller(Some(&pair)).ask(METRIC, &FORGED).await.status, StatusCode::OK);
    let spec = &world.kube.accesses()[0];
    assert_eq!(spec["user"], "alice");
    assert_eq!(spec["groups"], json!(["team-a", "system:authenticated"]));
    let credential = spec["extra"]["authentication.kubernetes.io/credential-id"][0].as_str().unwrap();
    assert!(credential.starts_with("X509SHA256=") && credential.len() == 11 + 64, "{credential}");
}

#[tokio::test]
async fn the_client_authority_cannot_make_a_front_proxy() {
    let world = World::start().await;
    let pair = world.clients.client("front-proxy-client");
    world.caller(Some(&pair)).ask(METRIC, &FORGED).await;
    assert_eq!(world.kube.accesses()[0]["user"], "front-proxy-client");
}

#[tokio::test]
async fn a_proxy_certificate_with_another_name_is_refused() {
    let world = World::start().await;
    is_refused(&world, Some(&world.proxies.client("somebody-else"))).await;
}

#[tokio::test]
async fn an_expired_proxy_certificate_is_refused() {
    let world = World::start().await;
    let leaf = Leaf { name: "front-proxy-client", expired: true, ..Leaf::default() };
    is_refused(&world, Some(&world.proxies.leaf(&leaf))).await;
}

#[tokio::test]
async fn a_proxy_certificate_for_servers_only_is_refused() {
    let world = World::start().await;
    let leaf = Leaf { name: "front-proxy-client", usage: ExtendedKeyUsagePurpose::ServerAuth, ..Leaf::default() };
    is_refused(&world, Some(&world.proxies.leaf(&leaf))).await;
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused() {
    let world = World::start().await;
    is_refused(&world, Some(&Authority::new("proxies").client("front-proxy-client"))).await;
}

#[tokio::test]
async fn an_allowed_name_on_an_intermediate_does_not_make_its_leaf_a_proxy() {
    let world = World::start().await;
    let intermediate = world.proxies.intermediate("front-proxy-client");
    is_refused(&world, Some(&intermediate.client("mallory"))).await;
    let honest = world.caller(Some(&intermediate.client("front-proxy-client")));
    assert_eq!(honest.ask(METRIC, &[("x-remote-user", "hpa")]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_front_proxy_names_user_groups_and_extra_attributes() {
    let world = World::start().await;
    let headers = [
        ("X-Remote-User", "system:serviceaccount:kube-system:horizontal-pod-autoscaler"),
        ("X-Remote-Group", "system:serviceaccounts"),
        ("X-Remote-Group", "system:serviceaccounts:kube-system"),
        ("X-Remote-Extra-Acme.com%2FProject", "one"),
        ("X-Remote-Extra-Acme.com%2FProject", "two"),
        ("X-Remote-Uid", "not-configured"),
    ];
    assert_eq!(world.proxy().ask(METRIC, &headers).await.status, StatusCode::OK);
    let expected = json!({
        "user": "system:serviceaccount:kube-system:horizontal-pod-autoscaler",
        "groups": ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"],
        "extra": { "acme.com/project": ["one", "two"] },
        "resourceAttributes": {
            "verb": "list",
            "group": "external.metrics.k8s.io",
            "version": "v1beta1",
            "namespace": "shop",
            "resource": "queue",
        },
    });
    assert_eq!(world.kube.accesses(), [expected]);
}

#[tokio::test]
async fn a_proxy_that_names_nobody_identifies_nobody() {
    let world = World::start().await;
    assert_eq!(world.proxy().get(METRIC).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(world.proxy().ask(METRIC, &[("x-remote-user", "")]).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_bearer_token_is_reviewed_once_and_remembered_whether_good_or_bad() {
    let world = World::start().await;
    let caller = world.caller(None);
    for _ in 0..3 {
        assert_eq!(caller.ask(METRIC, &[("authorization", "Bearer good")]).await.status, StatusCode::OK);
        let bad = caller.ask(METRIC, &[("authorization", "Bearer forged")]).await;
        assert_eq!(bad.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(world.kube.tokens(), ["good", "forged"]);
    let spec = &world.kube.accesses()[0];
    assert_eq!(spec["user"], "system:serviceaccount:kube-system:horizontal-pod-autoscaler");
    assert_eq!(spec["uid"], "u-1");
}

#[tokio::test]
async fn a_token_that_cannot_be_reviewed_is_a_503_and_never_an_identity() {
    let world = World::start().await;
    world.kube.set_mood(Mood::Fails);
    let reply = world.caller(None).ask(METRIC, &[("authorization", "Bearer good")]).await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reply.json()["details"]["causes"][0]["reason"], "ReviewFailed");
    world.kube.set_mood(Mood::Works);
    let again = world.caller(None).ask(METRIC, &[("authorization", "Bearer good")]).await;
    assert_eq!(again.status, StatusCode::OK);
}

#[tokio::test]
async fn without_identity_only_health_is_answered() {
    let world = World::start().await;
    let caller = world.caller(None);
    for path in ["/livez", "/readyz", "/healthz"] {
        assert_eq!(caller.get(path).await.status, StatusCode::OK, "{path}");
    }
    for path in ["/apis", "/version", "/metrics", "/openapi/v3", "/livez/../metrics", "/nowhere", METRIC] {
        assert_eq!(caller.get(path).await.status, StatusCode::UNAUTHORIZED, "{path}");
    }
}

#[tokio::test]
async fn without_the_config_map_no_proxy_is_believed_and_readiness_says_why() {
    let world = World::with(Setup { published: false, ..Setup::default() }).await;
    let reply = world.until(|reply| reply.text().contains("missing"), "/readyz").await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    let reason = "[-]requestheader failed: requestheader authentication is off: requestheader-client-ca-file or \
                  requestheader-username-headers is missing";
    assert!(reply.text().contains(reason), "{}", reply.text());
    let proxy = world.proxy().ask(METRIC, &FORGED).await;
    assert_eq!(proxy.status, StatusCode::UNAUTHORIZED);
}
