//! DOUBLE as servers print it (dtoa.cc, my_gcvt and my_fcvt): the fewest digits that read back as the same number.

/// Decimals of a column without a fixed number of them.
pub(super) const NOT_FIXED: u8 = 31;
/// Beyond so many digits before the point, or zeros behind it, the number gets an exponent.
const PLAIN_DIGITS_MAX: i32 = 15;

pub(super) fn parse(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

pub(super) fn print(value: f64, decimals: u8) -> Vec<u8> {
    if decimals < NOT_FIXED {
        return format!("{value:.*}", usize::from(decimals)).into_bytes();
    }
    if value == 0.0 {
        return if value.is_sign_negative() { b"-0".to_vec() } else { b"0".to_vec() };
    }
    // `d.ddde±x`: the shortest digits and the exponent.
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((scientific.as_str(), "0"));
    // Where the point stands from the first digit, as dtoa counts it.
    let point = exponent.parse::<i32>().unwrap_or(0).saturating_add(1);
    if (1 - PLAIN_DIGITS_MAX..=PLAIN_DIGITS_MAX).contains(&point) {
        return format!("{value}").into_bytes();
    }
    format!("{digits}e{exponent}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_printed_as_servers_do() {
        let cases: [(f64, &str); 10] = [
            (1.0, "1"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e14, "100000000000000"),
            (1e15, "1e15"),
            (-1.5e300, "-1.5e300"),
            (1e-15, "0.000000000000001"),
            (1e-16, "1e-16"),
            (123_456_789_012_345.6, "123456789012345.6"),
            (1.234_567_890_123_456_7e17, "1.2345678901234566e17"),
            (0.0, "0"),
        ];
        for (value, expected) in cases {
            assert_eq!(String::from_utf8(print(value, NOT_FIXED)).unwrap(), expected);
        }
        assert_eq!(print(1.005, 2), b"1.00");
        assert_eq!(print(2.5, 4), b"2.5000");
    }
}
