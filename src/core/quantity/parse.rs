//! The quantity grammar: `[+-] digits [. digits] suffix`, apimachinery v0.36.3 `ParseQuantity`.
//!
//! Suffixes: `n u m k M G T P E` (powers of ten), `Ki Mi Gi Ti Pi Ei` (powers of two), `e` or `E` with an integer.
//! Two texts that Kubernetes accepts are refused here: those without any digit (it reads `m` and `-` as 0) and those
//! longer than 64 characters. What is finer than a nano-unit is rounded away from zero, as there; what is larger
//! than can be held saturates.

use super::{NANO, NANO_MAX, Quantity};

/// Longest text: 64 characters hold every number that is exact, and its longest exponent.
const LENGTH_MAX: usize = 64;

/// Mantissas stop growing here; a number that needs more digits has saturated or is rounded anyway.
const MANTISSA_FULL: u128 = 10_u128.pow(37);

/// What a suffix multiplies by.
#[derive(Clone, Copy)]
enum Scale {
    /// Ten to a power.
    Ten(i32),
    /// Two to a power.
    Two(u32),
}

/// Digits as `mantissa x 10^power`, with a mark for further digits that were not all zero.
struct Decimal {
    mantissa: u128,
    power: i32,
    inexact: bool,
}

/// The quantity that a text says, or the reason why it says none.
pub(super) fn parse(text: &str) -> Result<Quantity, &'static str> {
    if text.len() > LENGTH_MAX {
        return Err("longer than 64 characters");
    }
    let negative = text.starts_with('-');
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let digits_end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (digits, suffix) = unsigned.split_at(digits_end);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if fraction.contains('.') {
        return Err("more than one decimal point");
    }
    if whole.is_empty() && fraction.is_empty() {
        return Err("no digits");
    }
    let decimal = read_digits(whole, fraction);
    let nano = match read_suffix(suffix).ok_or("unknown suffix")? {
        Scale::Ten(exponent) => times_ten(&decimal, exponent),
        Scale::Two(exponent) => times_two(&decimal, exponent)?,
    };
    let nano = i128::try_from(nano).unwrap_or(NANO_MAX);
    Ok(Quantity::from_nano(if negative { -nano } else { nano }))
}

fn read_suffix(suffix: &str) -> Option<Scale> {
    Some(match suffix {
        "" => Scale::Ten(0),
        "n" => Scale::Ten(-9),
        "u" => Scale::Ten(-6),
        "m" => Scale::Ten(-3),
        "k" => Scale::Ten(3),
        "M" => Scale::Ten(6),
        "G" => Scale::Ten(9),
        "T" => Scale::Ten(12),
        "P" => Scale::Ten(15),
        "E" => Scale::Ten(18),
        "Ki" => Scale::Two(10),
        "Mi" => Scale::Two(20),
        "Gi" => Scale::Two(30),
        "Ti" => Scale::Two(40),
        "Pi" => Scale::Two(50),
        "Ei" => Scale::Two(60),
        _ => Scale::Ten(suffix.strip_prefix(['e', 'E'])?.parse().ok()?),
    })
}

fn read_digits(whole: &str, fraction: &str) -> Decimal {
    let mut decimal = Decimal { mantissa: 0, power: 0, inexact: false };
    for digit in whole.bytes() {
        decimal.push(digit);
    }
    for digit in fraction.bytes() {
        decimal.push(digit);
        decimal.power -= 1;
    }
    decimal
}

impl Decimal {
    fn push(&mut self, digit: u8) {
        let digit = u128::from(digit - b'0');
        if self.mantissa < MANTISSA_FULL {
            self.mantissa = self.mantissa * 10 + digit;
        } else {
            self.power += 1;
            self.inexact |= digit != 0;
        }
    }
}

/// Nano-units of `decimal x 10^exponent`, rounded up, saturated.
fn times_ten(decimal: &Decimal, exponent: i32) -> u128 {
    let &Decimal { mantissa, power, inexact } = decimal;
    if mantissa == 0 {
        return 0;
    }
    let power = exponent.saturating_add(power).saturating_add(9);
    let factor = 10_u128.checked_pow(power.unsigned_abs());
    match factor {
        Some(factor) if power >= 0 => mantissa.saturating_mul(factor),
        Some(divisor) => mantissa / divisor + u128::from(inexact || !mantissa.is_multiple_of(divisor)),
        None if power >= 0 => u128::MAX,
        None => 1,
    }
}

/// Nano-units of `decimal x 2^exponent`, rounded up, capped at 2^63 - 1 units as apimachinery caps binary ones.
fn times_two(decimal: &Decimal, exponent: u32) -> Result<u128, &'static str> {
    const CAP: u128 = i64::MAX as u128 * NANO as u128;
    let &Decimal { mantissa, power, inexact } = decimal;
    let power = power + 9;
    let factor = 10_u128.checked_pow(power.unsigned_abs()).ok_or("too many digits for a binary suffix")?;
    let (scaled, divisor) = if power >= 0 { (mantissa.saturating_mul(factor), 1) } else { (mantissa, factor) };
    let (mut nano, mut rest) = (scaled / divisor, scaled % divisor);
    // Shift and divide bit by bit: the rest stays below the divisor, so nothing is lost and nothing overflows.
    for _ in 0..exponent {
        rest *= 2;
        let carry = u128::from(rest >= divisor);
        rest -= carry * divisor;
        nano = nano.saturating_mul(2).saturating_add(carry);
    }
    Ok(nano.saturating_add(u128::from(rest != 0 || inexact)).min(CAP))
}
