use proptest::prelude::*;
use serde_json::json;

use super::*;

fn gpu() -> Device {
    serde_json::from_value(json!({
        "name": "gpu-0",
        "attributes": {
            "type": {"string": "gpu"},
            "productName": {"string": "NVIDIA H100 80GB HBM3"},
            "index": {"int": 3},
            "healthy": {"bool": true},
            "driverVersion": {"version": "580.65.6"},
            "resource.kubernetes.io/pcieRoot": {"string": "pci0000:01"},
            "odd": {"strings": ["a"]},
        },
        "capacity": {"memory": {"value": "80Gi"}},
    }))
    .unwrap()
}

fn ask(text: &str) -> Result<bool, String> {
    let device = gpu();
    Expression::parse(text)?.selects(Subject { driver: "gpu.nvidia.com", device: &device })
}

#[test]
fn what_selectors_are_made_of_is_decided_as_the_scheduler_decides_it() {
    let attributes = "device.attributes['gpu.nvidia.com']";
    for (text, expected) in [
        ("device.driver == 'gpu.nvidia.com'", true),
        ("device.driver == \"gpu.nvidia.com\" && A.type == 'gpu'", true),
        ("device.driver == 'other' && A.absent == 'gpu'", false),
        ("A.absent == 'gpu' && device.driver == 'other'", false),
        ("A.absent == 'x' || A.healthy", true),
        ("!A.healthy", false),
        ("A.index >= 3 && A.index < 4 && A.index != 5", true),
        ("A.type in ['gpu', 'mig']", true),
        (
            "A['productName'].startsWith('NVIDIA') && A.productName.contains('H100') && A.productName.endsWith('HBM3')",
            true,
        ),
        ("'type' in A && !('absent' in A)", true),
        ("has(A.type) && !has(A.absent)", true),
        ("'type' in device.attributes['elsewhere']", false),
        ("device.attributes['resource.kubernetes.io'].pcieRoot == 'pci0000:01'", true),
        ("device.capacity['gpu.nvidia.com'].memory.compareTo(quantity('80Gi')) == 0", true),
        ("device.capacity['gpu.nvidia.com'].memory.compareTo(quantity('81Gi')) < 0", true),
        ("device.capacity[device.driver].memory.isGreaterThan(quantity('40Gi'))", true),
        ("device.capacity['gpu.nvidia.com'].memory == quantity('81920Mi')", true),
        ("A.driverVersion.isGreaterThan(semver('570.0.0'))", true),
        ("A.driverVersion.isLessThan(semver('580.65.6'))", false),
        ("true", true),
    ] {
        assert_eq!(
            ask(&text
                .replace("A.", &format!("{attributes}."))
                .replace("A[", &format!("{attributes}["))
                .replace("in A", &format!("in {attributes}"))),
            Ok(expected),
            "{text}"
        );
    }
}

#[test]
fn what_is_not_understood_or_would_fail_is_an_error_and_never_an_answer() {
    for text in [
        "",
        "device.driver ==",
        "device.driver",
        "device.attributes['gpu.nvidia.com'].absent == 'gpu'",
        "device.attributes['gpu.nvidia.com'].index == 'gpu'",
        "device.attributes['gpu.nvidia.com'].odd == 'a'",
        "device.attributes['gpu.nvidia.com'].type.matches('g.*')",
        "device.attributes['gpu.nvidia.com'].type.lowerAscii() == 'gpu'",
        "cel.bind(a, device.attributes['gpu.nvidia.com'], a.type == 'gpu')",
        "device.allowMultipleAllocations == false",
        "['gpu'].exists(t, t == device.attributes['gpu.nvidia.com'].type)",
        "device.capacity['gpu.nvidia.com'].memory > quantity('1')",
        "device.capacity['gpu.nvidia.com'].memory.isGreaterThan(quantity('lots'))",
        "device.attributes['gpu.nvidia.com'].driverVersion.isGreaterThan(semver('1.0.0+build'))",
        "other == 1",
        "'gpu.nvidia.com' in device.attributes",
        "!1",
        "1 + 1 == 2",
    ] {
        assert!(ask(text).is_err(), "{text}: {:?}", ask(text));
    }
    assert!(ask(&format!("true || {}", "x".repeat(MAX_LENGTH))).is_err());
    assert!(ask(&format!("{}true{}", "(".repeat(200), ")".repeat(200))).is_err());
}

#[test]
fn the_deepest_expressions_that_are_read_leave_room_on_the_stack() {
    for (open, close) in
        [("(", ")"), ("[", "]"), ("size(", ")"), ("!(", ")"), ("a[", "]"), ("has(", ")"), ("a.b(", ")")]
    {
        for depth in [usize::from(MAX_DEPTH) - 2, MAX_LENGTH / (open.len() + 1) - 1] {
            let _ = ask(&format!("{}a{}", open.repeat(depth), close.repeat(depth)));
        }
    }
    for part in ["!", "-", "a.", "a==", "a&&", "a||", "a<", "a-", "a,", "a in ", "a().", "[a]", "(a)"] {
        for count in
            [10, MAX_MARKS / marks(part) - 1, MAX_MARKS / (marks(part) - 1).max(1) - 1, MAX_LENGTH / part.len() - 1]
        {
            let _ = ask(&format!("{}a", part.repeat(count)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_fail_otherwise_than_by_an_error(
        words in prop::collection::vec(
            prop::sample::select(vec!["device", ".", "attributes", "[", "]", "'a'", "(", ")", "&&", "||", "!", "==", "in",
                "{", "}", "?", ":", ",", "1", "-", "has", "quantity", "\\", "\"", "é", "b'x'", "0x", "r'"]), 0..20),
    ) {
        let _ = ask(&words.concat());
        let _ = ask(&words.join(" "));
    }
}
