use proptest::prelude::*;

use super::*;

fn q(text: &str) -> Quantity {
    text.parse().unwrap()
}

#[test]
fn suffixes_scale_exactly() {
    for (text, nano) in [
        ("0", 0),
        ("1", NANO),
        ("+1", NANO),
        ("-1", -NANO),
        ("1n", 1),
        ("1u", 1_000),
        ("1m", 1_000_000),
        ("1.5", 1_500_000_000),
        (".5", 500_000_000),
        ("5.", 5 * NANO),
        ("12e3", 12_000 * NANO),
        ("12E3", 12_000 * NANO),
        ("12e+3", 12_000 * NANO),
        ("12e-3", 12_000_000),
        ("1E", 10_i128.pow(27)),
        ("1Ki", 1024 * NANO),
        ("1.5Gi", 1_610_612_736 * NANO),
        ("0.1Ki", 102_400_000_000),
        ("1Ei", (1 << 60) * NANO),
        ("007", 7 * NANO),
    ] {
        assert_eq!(q(text).nano(), nano, "{text}");
    }
}

#[test]
fn what_is_finer_than_a_nano_is_rounded_away_from_zero() {
    assert_eq!(q("0.1n").nano(), 1);
    assert_eq!(q("-0.1n").nano(), -1);
    assert_eq!(q("1.0000000001").nano(), NANO + 1);
    assert_eq!(q("1e-300").nano(), 1);
    assert_eq!(q("0e-300").nano(), 0);
    assert_eq!(q("0.00000000000000000001Ki").nano(), 1);
    // 10.24 nano-units.
    assert_eq!(q("0.00000000001Ki").nano(), 11);
}

#[test]
fn what_is_too_large_saturates() {
    assert_eq!(q("9Ei").units(), i64::MAX);
    assert_eq!(q("1e300").nano(), NANO_MAX);
    assert_eq!(q("-1e300").nano(), -NANO_MAX);
    assert_eq!(q("1e2147483647").nano(), NANO_MAX);
    assert_eq!(q("123456789012345678901234567890123456789012345678901234567890").nano(), NANO_MAX);
    assert_eq!(q("0.99999999999999999999999999999999999999999999999999999999999").nano(), NANO);
    assert_eq!(q("9300000000000000").milli(), Milli(i64::MAX));
    assert_eq!(Quantity::from_nano(i128::MIN).nano(), -NANO_MAX);
}

#[test]
fn what_kubernetes_refuses_is_refused() {
    for text in [
        "",
        " ",
        " 1",
        "1 ",
        "1.1.M",
        "1+1.0M",
        "0.1mi",
        "0.1am",
        "aoeu",
        ".5i",
        "1i",
        "-3.01i",
        "-3.01e-",
        "1e",
        "e3",
        "1Ee3",
        "1ee3",
        "--1",
        "+-1",
        "1,5",
        "0x10",
        "NaN",
        "Inf",
        "1µ",
        "１",
        "1K",
        "1gi",
        "1Mi3",
        "1m3",
        "1e3.5",
        "1e99999999999999999999",
        "m",
        "-",
        ".",
    ] {
        assert!(text.parse::<Quantity>().is_err(), "{text:?}");
    }
    assert!("0".repeat(65).parse::<Quantity>().is_err());
}

#[test]
fn an_error_says_what_would_be_right() {
    assert_eq!(
        "5 GPUs".parse::<Quantity>().unwrap_err().to_string(),
        "\"5 GPUs\" is not a quantity: unknown suffix (examples: 500m, 2, 1.5Gi, 12e3)"
    );
}

#[test]
fn the_print_is_the_canonical_decimal_form() {
    for (text, canonical) in [
        ("0", "0"),
        ("-0", "0"),
        ("0.5", "500m"),
        ("12000", "12k"),
        ("1500", "1500"),
        ("1.5k", "1500"),
        ("100e18", "100E"),
        ("1e21", "1000E"),
        ("1Ki", "1024"),
        ("-1.001", "-1001m"),
        ("0.0001", "100u"),
        ("3n", "3n"),
    ] {
        assert_eq!(q(text).to_string(), canonical, "{text}");
    }
}

#[test]
fn json_is_read_as_kubernetes_reads_it() {
    for (json, canonical) in [
        ("\"1Gi\"", "1073741824"),
        ("\" 1 \"", "1"),
        ("3", "3"),
        ("-3", "-3"),
        ("0.25", "250m"),
        ("1e300", "100000000000E"),
        ("18446744073709551615", "18446744073709551615"),
        ("null", "0"),
    ] {
        assert_eq!(serde_json::from_str::<Quantity>(json).unwrap().to_string(), canonical, "{json}");
    }
    for json in ["true", "[]", "{}", "\"\"", "\"x\""] {
        assert!(serde_json::from_str::<Quantity>(json).is_err(), "{json}");
    }
    assert_eq!(serde_json::to_string(&q("0.5")).unwrap(), "\"500m\"");
}

#[test]
fn measured_values_round_up_to_thousandths_unless_they_are_thousandths() {
    for (value, milli) in
        [(0.0, 0), (4.35, 4350), (1.001, 1001), (1.005, 1005), (0.1 + 0.2, 301), (1.00001, 1001), (-1.5, -1500)]
    {
        assert_eq!(Milli::from_f64(value), Some(Milli(milli)), "{value}");
    }
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
        assert_eq!(Milli::from_f64(value), None, "{value}");
    }
}

#[test]
fn arithmetic_saturates_and_never_wraps() {
    let most = Quantity::from_nano(i128::MAX);
    assert_eq!(most + most, most);
    assert_eq!(Quantity::ZERO - most - most, Quantity::from_nano(i128::MIN));
    assert_eq!(most.checked_mul(2), None);
    assert_eq!(most.saturating_mul(-2), Quantity::from_nano(i128::MIN));
    assert_eq!(q("1Gi").checked_mul(8), Some(q("8Gi")));
    assert_eq!([q("100m"), q("1.9")].into_iter().sum::<Quantity>(), q("2"));
}

fn nano() -> impl Strategy<Value = i128> {
    prop_oneof![
        any::<i64>().prop_map(i128::from),
        (any::<i64>(), 0_u32..20).prop_map(|(digits, power)| i128::from(digits) * 10_i128.pow(power)),
        -NANO_MAX..=NANO_MAX,
    ]
}

proptest! {
    #[test]
    fn what_is_printed_parses_back(nano in nano()) {
        let quantity = Quantity::from_nano(nano);
        prop_assert_eq!(quantity.to_string().parse::<Quantity>().unwrap(), quantity);
    }

    #[test]
    fn thousandths_are_never_below_and_less_than_one_above(nano in (-9_000_000_000_000_000_000_000_000..9_000_000_000_000_000_000_000_000_i128)) {
        let milli = i128::from(Quantity::from_nano(nano).milli().0) * 1_000_000;
        prop_assert!((milli.abs() - nano.abs()) >= 0 && (milli.abs() - nano.abs()) < 1_000_000);
        prop_assert!(milli.signum() * nano.signum() >= 0);
    }

    #[test]
    fn order_is_kept(left in nano(), right in nano()) {
        let (left, right) = (Quantity::from_nano(left), Quantity::from_nano(right));
        if left <= right {
            prop_assert!(left.milli() <= right.milli() && left.units() <= right.units());
        }
    }

    #[test]
    fn decimals_parse_to_what_integer_arithmetic_says(whole in 0_u64..1_000_000, fraction in 0_u64..1_000_000_000) {
        let expected = i128::from(whole) * NANO + i128::from(fraction);
        prop_assert_eq!(q(&format!("{whole}.{fraction:09}")).nano(), expected);
        prop_assert_eq!(q(&format!("{whole}.{fraction:09}Mi")).nano(), expected << 20);
        prop_assert_eq!(q(&format!("{whole}.{fraction:09}e3")).nano(), expected * 1000);
    }

    #[test]
    fn no_text_panics(text in "[-+0-9.eEinumkKMGTP ]{0,70}|\\PC{0,20}") {
        let _ = text.parse::<Quantity>();
    }

    #[test]
    fn a_number_of_thousandths_survives_its_float(milli in -9_000_000_000_000_i64..9_000_000_000_000) {
        #[expect(clippy::cast_precision_loss)]
        let value = milli as f64 / 1000.0;
        prop_assert_eq!(Milli::from_f64(value), Some(Milli(milli)));
    }
}
