//! Errors by their exact text, and the documented example.

use super::*;

const HEAD: &str = "apiVersion: plimsoll.dev/v1alpha1\nkind: Configuration\n";

fn read(rest: &str) -> Result<Configuration, Error> {
    parse(&format!("{HEAD}{rest}"), "config.yaml")
}

fn error(rest: &str) -> String {
    read(rest).expect_err(rest).to_string()
}

#[test]
fn an_empty_configuration_is_the_default() {
    let configuration = read("").unwrap();
    assert_eq!(Configuration { digest: String::new(), ..configuration }, Configuration::default());
}

#[test]
fn errors_point_at_the_place_and_say_what_would_be_right() {
    let cases = [
        ("scrapeIntervall: 5s\n", r#"3:1: unknown key "scrapeIntervall", did you mean "scrape.interval"?"#),
        ("scrape:\n  intervall: 5s\n", r#"4:3: unknown key "intervall", did you mean "interval"?"#),
        ("gpuResources: []\n", r#"3:1: unknown key "gpuResources", did you mean "policy.gpuResources"?"#),
        (
            "zzz: 1\n",
            r#"3:1: unknown key "zzz" (one of apiVersion, kind, tick, policy, scrape, dcgm, pods, prometheus, keda)"#,
        ),
        ("policy: {}\npolicy: {}\n", r#"4:1: key "policy" is given twice"#),
        ("prometheus:\n- name: main\n", r#"4:3: key "url" is missing"#),
        (
            "tick: 5\n",
            r#"3:7: "5" is not a duration: a number, or a unit of ns, us, ms, s, m, h, is missing (examples: 500ms, 5s, 1m30s)"#,
        ),
        ("tick: [5]\n", "3:7: expected a text"),
        ("tick:\n", "3:5: the value is missing"),
        ("tick: 1ms\n", "3:7: tick is 1ms, expected at least 100ms"),
        ("tick: 10m\n", "3:7: tick is 10m0s, expected at most 30s"),
        ("scrape: 5\n", "3:9: expected a mapping of keys to values"),
        ("scrape:\n  concurrency: many\n", "4:16: expected a whole number, not negative"),
        ("scrape:\n  concurrency: 0\n", "4:3: scrape.concurrency is 0, expected 1 to 1024"),
        (
            "policy:\n  mode: enforce\n",
            r#"4:9: unknown value "enforce", did you mean "Enforce"? (one of Enforce, Observe, Off)"#,
        ),
        ("policy:\n  tolerance: 7\n", "4:14: 7 is not between 0 and 1"),
        ("policy:\n  minCoverage: high\n", "4:16: expected a number"),
        ("policy:\n  liveBound: 3m\n", "4:3: policy.lastKnownGoodBound 2m0s is shorter than liveBound 3m0s"),
        (
            "policy:\n  gpuResources: ['*']\n",
            r#"4:3: policy.gpuResources: "*" is no resource name with at most a * at its end"#,
        ),
        (
            "policy:\n  metrics:\n  - {name: a, kind: perPod, signal: queuelength}\n",
            r#"5:5: metric "a": no source measures the signal "queuelength" so, did you mean "queueLength"?"#,
        ),
        (
            "policy:\n  metrics:\n  - {name: a/b, kind: capacityGuard}\n",
            r#"5:5: metric name "a/b" is not usable in an HPA's URL"#,
        ),
        ("dcgm:\n  selectors: ['a=b=c']\n", r#"4:15: selector "a=b=c" is not valid: ',' is missing"#),
        ("dcgm:\n  selectors: ['']\n", "4:15: the selector is empty, it would select every pod"),
        ("dcgm:\n  port: 70000\n", "4:9: expected a whole number from 0 to 65535"),
        ("dcgm:\n  path: metrics\n", r#"4:9: "metrics" is not a path: it must start with one slash"#),
        ("dcgm:\n  urls: ['ftp://x']\n", r#"4:10: "ftp://x" is neither http nor https"#),
        ("pods:\n  annotations: maybe\n", "4:16: expected true or false"),
        (
            "pods:\n  workloads:\n  - {namespace: a, name: b}\n",
            "4:3: pods.workloads: a/b needs a port from 1 to 65535, or scrape: false",
        ),
        ("tick: *x\n", "3:7: alias references unknown anchor"),
        ("tick: 5s\n---\ntick: 5s\n", "5:1: the file holds several documents, expected one"),
    ];
    for (text, expected) in cases {
        assert_eq!(error(text), format!("config.yaml:{expected}"));
    }
}

#[test]
fn a_file_that_is_no_configuration_says_so() {
    assert_eq!(
        parse("", "c.yaml").unwrap_err().to_string(),
        r#"c.yaml: apiVersion is missing, expected "plimsoll.dev/v1alpha1""#
    );
    assert_eq!(
        parse("apiVersion: v1\nkind: ConfigMap", "c.yaml").unwrap_err().to_string(),
        r#"c.yaml:1:13: apiVersion is "v1", expected "plimsoll.dev/v1alpha1""#
    );
    let huge = format!("{HEAD}# {}\n", "x".repeat(MAX_BYTES));
    assert_eq!(parse(&huge, "c.yaml").unwrap_err().to_string(), "c.yaml: is larger than 1048576 bytes");
}

fn server(lines: &str) -> String {
    format!("prometheus:\n- name: main\n  url: http://prometheus:9090\n{lines}")
}

#[test]
fn queries_are_checked_without_a_server() {
    let query = |query: &str| error(&server(&format!("  queries:\n  - signal: queueLength\n    query: {query}\n")));
    assert_eq!(query("sum("), "config.yaml:7:5: query is not PromQL: unclosed left parenthesis");
    assert_eq!(query("vector(1)"), "config.yaml:7:5: query selects no series, so it cannot be bound to a namespace");
    assert_eq!(
        error(&server("  queries:\n  - {signal: queueLength, query: x, labels: {pods: x}}\n")),
        r#"config.yaml:7:46: unknown key "pods", did you mean "pod"?"#
    );
    let secret = "prometheus:\n- name: main\n  url: http://u:geheim@p:9090\n  queries: []\n";
    assert_eq!(error(secret), "config.yaml:5:8: a URL must not carry credentials: use bearerTokenFile");
}

#[test]
fn the_way_to_keda_is_checked_without_a_connection() {
    let keda = |rest: &str| error(&format!("keda: {{url: 'https://keda:443', caFile: ca.crt{rest}}}\n"));
    let of = |url: &str| error(&format!("keda: {{url: '{url}', caFile: ca.crt}}\n"));
    assert_eq!(
        of("http://keda:443"),
        "config.yaml:3:7: keda.url http://keda:443/ is not https: KEDA's metrics server is asked with credentials"
    );
    assert_eq!(of("https://keda/apis"), "config.yaml:3:7: keda.url https://keda/apis must end with host and port");
    assert_eq!(keda(", timeout: 1m"), "config.yaml:3:7: keda.timeout is 1m0s, expected 100ms to 30s");
    assert_eq!(keda(", clientKeyFile: k"), "config.yaml:3:7: keda.clientKeyFile needs keda.clientCertificateFile");
    assert_eq!(
        keda(", bearerTokenFile: t, clientCertificateFile: c, clientKeyFile: k"),
        "config.yaml:3:7: keda: give bearerTokenFile or a client certificate, not both"
    );
    assert_eq!(
        keda(", tokenFile: t"),
        r#"config.yaml:3:49: unknown key "tokenFile" (one of url, caFile, bearerTokenFile, clientCertificateFile, clientKeyFile, timeout)"#
    );
    assert_eq!(error("keda: {url: 'https://keda'}\n"), r#"config.yaml:3:8: key "caFile" is missing"#);
    let token = read("keda: {url: 'https://keda', caFile: ca.crt}\n").unwrap().keda.unwrap();
    assert_eq!(
        token.identity,
        keda::Identity::Token("/var/run/secrets/kubernetes.io/serviceaccount/token".into()),
        "that of the ServiceAccount"
    );
}

#[test]
fn the_configuration_in_front_of_keda_is_that_of_the_base_and_the_way_to_keda() {
    let [base, front] = [
        include_str!("../../deploy/base/config.yaml"),
        include_str!("../../deploy/components/in-front-of-keda/config.yaml"),
    ];
    assert!(front.starts_with(base), "the component repeats the base's text");
    let [base, front] = [base, front].map(|text| parse(text, "config.yaml").unwrap());
    let url = front.keda.as_ref().map(|keda| keda.url.to_string());
    assert_eq!(url.as_deref(), Some("https://keda-metrics-apiserver.keda.svc/"));
    assert_eq!(Configuration { keda: None, digest: base.digest.clone(), ..front }, base);
}

#[test]
fn a_signal_that_only_a_query_measures_can_be_served() {
    let metric = "policy:\n  metrics:\n  - {name: tokens, kind: perPod, signal: tokensWaiting}\n";
    let queries = server("  interval: 30s\n  queries:\n  - {signal: tokensWaiting, query: tokens}\n");
    let configuration = read(&format!("{metric}{queries}")).unwrap();
    assert!(configuration.policy.metric("tokens").is_some());
    assert_eq!(configuration.policy.live_bound, jiff::SignedDuration::from_secs(60), "two of the longest interval");
}

#[test]
fn the_documented_example_is_the_default_but_for_what_it_adds() {
    let text = include_str!("../../docs/reference/configuration.yaml");
    let shown = parse(text, "configuration.yaml").unwrap();
    let mut expected = Configuration { digest: shown.digest.clone(), ..Configuration::default() };
    expected.sources.dcgm.urls.clone_from(&shown.sources.dcgm.urls);
    expected.sources.pods.workloads.clone_from(&shown.sources.pods.workloads);
    expected.sources.prometheus.clone_from(&shown.sources.prometheus);
    expected.keda.clone_from(&shown.keda);
    assert_eq!(shown, expected);
    assert_eq!(
        (shown.sources.dcgm.urls.len(), shown.sources.pods.workloads.len(), shown.sources.prometheus.len()),
        (1, 1, 1)
    );
}

#[test]
fn the_documented_example_names_every_key() {
    let text = include_str!("../../docs/reference/configuration.yaml");
    for path in known_paths() {
        let key = path.rsplit('.').next().unwrap();
        let written = text.lines().any(|line| {
            let line = line.trim_start_matches([' ', '#', '-']);
            line.starts_with(&format!("{key}:"))
                || line.contains(&format!("{{{key}:"))
                || line.contains(&format!(" {key}:"))
        });
        assert!(written, "{path} is not documented");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}|[a-z:\\[\\]{}&*!|>'\"#\n -]{0,200}") {
        let _: Result<Configuration, Error> = parse(&text, "x");
    }
}
