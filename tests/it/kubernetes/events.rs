//! Events as the API server gets them.

use std::time::Duration;

use plimsoll::kubernetes::events::{Event, Regarding, queue};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{api::Api, harness::client};

fn event(reason: &'static str) -> Event {
    let regarding = Regarding {
        api_version: "autoscaling/v2".to_owned(),
        kind: "HorizontalPodAutoscaler".to_owned(),
        namespace: "ml".to_owned(),
        name: "llm".to_owned(),
        uid: "7".to_owned(),
    };
    Event { regarding, warning: true, reason, action: "Clamp", note: "15 replicas wanted, 8 fit".to_owned() }
}

#[tokio::test]
async fn an_event_is_posted_once_with_what_it_is_about() {
    let api = Api::start().await;
    let (publisher, sender) = queue();
    let (shutdown, mut tasks) = (CancellationToken::new(), JoinSet::new());
    tasks.spawn(sender.run(client(&api).await, Some("replica-1".to_owned()), shutdown.clone()));
    for reason in ["CapacityClamped", "CapacityClamped", "Ambiguous"] {
        publisher.publish(event(reason));
    }
    let arrived = async {
        while api.posted().len() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), arrived).await.unwrap();
    shutdown.cancel();
    tasks.join_next().await.unwrap().unwrap();

    let posted = api.posted();
    let reasons: Vec<_> = posted.iter().map(|event| event["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["CapacityClamped", "Ambiguous"]);
    let first = &posted[0];
    assert_eq!(first["regarding"]["name"], "llm");
    assert_eq!(first["regarding"]["uid"], "7");
    assert_eq!((first["type"].as_str(), first["note"].as_str()), (Some("Warning"), Some("15 replicas wanted, 8 fit")));
    assert_eq!(first["reportingController"], "plimsoll.dev/plimsoll");
    assert_eq!(first["reportingInstance"], "replica-1");
    assert_eq!(api.requests("POST /apis/events.k8s.io/v1/namespaces/ml/events").len(), 2);
}
