//! Who is answered, and certificates that change while calls go on.

use tonic::Code;

use super::world::{World, question, reference};
use crate::api::certificates::Authority;

#[tokio::test]
async fn only_clients_of_the_authority_are_answered() {
    let world = World::start().await;
    world.stage.set("chat", 1_000, true, false);
    let stranger = Authority::new("strangers").client("keda-operator");
    for pair in [None, Some(&stranger)] {
        let mut client = world.client(pair).await;
        for status in [
            client.get_metrics(question("chat")).await.unwrap_err(),
            client.stream_is_active(reference("chat")).await.unwrap_err(),
        ] {
            assert_eq!(status.code(), Code::Unauthenticated);
            assert!(status.message().contains("tlsClientCert"), "{status:?}");
        }
    }
    assert!(world.keda().await.get_metrics(question("chat")).await.is_ok());
}

#[tokio::test]
async fn a_rotation_of_all_certificates_fails_no_call() {
    let world = World::start().await;
    world.stage.set("chat", 1_000, true, false);
    let mut open = world.keda().await;
    open.get_metrics(question("chat")).await.unwrap();

    // The clients' next authority joins the present one.
    let next = Authority::new("clients of tomorrow");
    let path = world.write_authorities(&format!("{}{}", world.clients.pem, next.pem));
    world.admitted.reload(&path, &world.tls).await.unwrap();
    world.write_serving(&world.servers.server());
    world.tls.reload().await;
    open.get_metrics(question("chat")).await.unwrap();
    let mut renewed = world.client(Some(&next.client("keda-operator"))).await;
    renewed.get_metrics(question("chat")).await.unwrap();
    // KEDA's old certificate is still good on a connection of its own.
    world.keda().await.get_metrics(question("chat")).await.unwrap();

    // Then it is alone.
    let path = world.write_authorities(&next.pem);
    world.admitted.reload(&path, &world.tls).await.unwrap();
    renewed.get_metrics(question("chat")).await.unwrap();
    let status = world.keda().await.get_metrics(question("chat")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn authorities_that_cannot_be_read_change_nothing() {
    let world = World::start().await;
    world.stage.set("chat", 1_000, true, false);
    let path = world.write_authorities("nonsense");
    assert!(world.admitted.reload(&path, &world.tls).await.is_err());
    world.keda().await.get_metrics(question("chat")).await.unwrap();
}
