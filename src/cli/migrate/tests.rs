use proptest::prelude::*;
use serde_json::json;

use super::*;

const HPA: &str = "\
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: chat, namespace: ml}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: chat}
  minReplicas: 2
  maxReplicas: 9
  behavior: {}
  metrics:
    - type: External
      external:
        metric: {name: inference_queue_length, selector: {matchLabels: {workload: chat}}}
        target: {type: AverageValue, averageValue: 10}
";

struct Ran {
    out: String,
    talk: String,
    code: String,
}

fn ran(text: &str, to: To, output: Format) -> Ran {
    let args = Args {
        filenames: vec!["-".into()],
        to,
        scaler_address: "scaler:9443".to_owned(),
        authentication: "TriggerAuthentication/ours".parse().unwrap(),
        new_hpa: false,
        config: None,
        output,
    };
    let (mut out, mut talk) = (Vec::new(), Vec::new());
    let code = run_with(args, text.as_bytes(), &mut out, &mut talk).unwrap();
    let [out, talk] = [out, talk].map(|bytes| String::from_utf8(bytes).unwrap());
    Ran { out, talk, code: format!("{code:?}") }
}

fn code(number: u8) -> String {
    format!("{:?}", ExitCode::from(number))
}

#[test]
fn an_hpa_comes_out_as_a_scaled_object_that_can_be_applied() {
    let Ran { out, talk, code: ended } = ran(HPA, To::ScaledObject, Format::Json);
    let object: Value = serde_json::from_str(&out).unwrap();
    let expected = json!({
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {
            "name": "chat", "namespace": "ml",
            "annotations": {"scaledobject.keda.sh/transfer-hpa-ownership": "true"},
        },
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "chat"},
            "minReplicaCount": 2,
            "maxReplicaCount": 9,
            "advanced": {"horizontalPodAutoscalerConfig": {"name": "chat", "behavior": {}}},
            "triggers": [{
                "type": "external-push",
                "metadata": {
                    "scalerAddress": "scaler:9443", "signal": "queueLength", "threshold": "10", "aggregation": "sum",
                    "metricName": "inference-queue-length",
                },
                "authenticationRef": {"kind": "TriggerAuthentication", "name": "ours"},
            }],
        },
    });
    assert_eq!((object, talk.as_str(), ended), (expected, "", code(0)));
}

#[test]
fn yaml_there_and_back_is_the_same_hpa() {
    let there = ran(HPA, To::ScaledObject, Format::Yaml);
    let back = ran(&there.out, To::Hpa, Format::Yaml);
    let read = |text: &str| serde_saphyr::from_str::<Value>(text).unwrap();
    let mut expected = read(HPA);
    expected["spec"]["metrics"][0]["external"]["target"]["averageValue"] = json!("10");
    assert_eq!((read(&back.out), back.talk.as_str()), (expected, ""));
}

#[test]
fn an_error_names_the_field_and_prints_nothing_at_all() {
    let text = format!("{HPA}---\n{}", HPA.replace("inference_queue_length", "x").replace("name: chat,", "name: b,"));
    let both = text.replacen(
        "    - type: External\n",
        "    - {type: Resource, resource: {name: gpu}}\n    - type: External\n",
        1,
    );
    let Ran { out, talk, code: ended } = ran(&both, To::ScaledObject, Format::Yaml);
    assert_eq!((out.as_str(), ended), ("", code(3)));
    let input = "plimsoll: standard input: HorizontalPodAutoscaler";
    let expected = [
        format!("{input} ml/chat: spec.metrics[0].resource.name: error: KEDA has triggers for cpu and memory only"),
        format!("{input} ml/b: passed over: it has no metric of Plimsoll"),
        "plimsoll: nothing is printed: 1 errors".to_owned(),
    ];
    assert_eq!(talk.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn fields_that_nobody_reads_are_named() {
    let object = ran(HPA, To::ScaledObject, Format::Yaml).out;
    let object = object
        .replace("  minReplicaCount: 2\n", "  minReplicaCount: 2\n  fallback: {replicas: 3}\n  cooldownPeriod: 9\n");
    let Ran { talk, code: ended, .. } = ran(&object, To::Hpa, Format::Yaml);
    let input = "plimsoll: standard input: ScaledObject ml/chat: spec";
    let mut said: Vec<_> = talk.lines().collect();
    said.sort_unstable();
    let expected = [
        format!("{input}.cooldownPeriod: warning: has no equivalent and is left out"),
        format!("{input}.fallback: warning: is left out: an HPA keeps its replicas while a metric fails"),
    ];
    assert_eq!((said, ended), (expected.iter().map(String::as_str).collect(), code(0)));
}

#[test]
fn objects_of_other_kinds_and_versions_are_told_apart() {
    let text = format!("{}---\nkind: Service\n---\n{HPA}", HPA.replace("autoscaling/v2", "autoscaling/v1"));
    let talk = ran(&text, To::ScaledObject, Format::Json).talk;
    let starts =
        ["plimsoll: standard input: HorizontalPodAutoscaler ml/chat: apiVersion: error", "plimsoll: 1 objects"];
    assert_eq!(talk.lines().count(), 3, "{talk}");
    for (line, start) in talk.lines().zip(starts) {
        assert!(line.starts_with(start), "{talk}");
    }
    let owned =
        HPA.replace("namespace: ml", "namespace: ml, ownerReferences: [{kind: ScaledObject, controller: true}]");
    let talk = ran(&owned, To::ScaledObject, Format::Json).talk;
    assert!(talk.contains("KEDA has made it"), "{talk}");
}

#[test]
fn several_objects_are_documents_or_a_list() {
    let two = format!("{HPA}---\n{}", HPA.replace("namespace: ml", "namespace: other"));
    let list = ran(&two, To::ScaledObject, Format::Json).out;
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!((&list["kind"], list["items"].as_array().map(Vec::len)), (&json!("List"), Some(2)));
    let yaml = ran(&two, To::ScaledObject, Format::Yaml).out;
    assert_eq!(
        documents::read_all(&[Source::Stdin], yaml.as_bytes()).unwrap().concat(),
        *list["items"].as_array().unwrap()
    );
}

proptest! {
    #[test]
    fn texts_that_look_like_something_else_stay_texts(text in "[0-9eE.~:-]{1,6}|true|no|null|[ -~]{1,20}") {
        let object = json!({"metadata": {"annotations": {"a": text}}});
        let mut out = Vec::new();
        manifest::yaml(std::slice::from_ref(&object), &mut out).unwrap();
        let read: Value = serde_saphyr::from_str(std::str::from_utf8(&out).unwrap()).unwrap();
        prop_assert_eq!(read, object);
    }
}
