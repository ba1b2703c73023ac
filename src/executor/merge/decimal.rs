//! Exact decimals as servers print them: compared, added, divided by a count as AVG does. At most 81 digits, so that
//! digits one by one are fast enough.

use std::cmp::Ordering;

/// Digits that MySQL keeps together in a DECIMAL (decimal.cc, DIG_PER_DEC1).
const WORD_DIGITS: usize = 9;
/// More digits than any server prints.
const DIGITS_MAX: usize = 400;

/// The parts of a printed number: sign, digits before the point without leading zeros, digits behind it.
struct Parts<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
}

fn parts(text: &[u8]) -> Option<Parts<'_>> {
    let (negative, digits) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        (b'+', rest) => (false, rest),
        _ => (false, text),
    };
    let (whole, fraction) = match memchr::memchr(b'.', digits) {
        Some(point) => (&digits[..point], &digits[point + 1..]),
        None => (digits, &digits[digits.len()..]),
    };
    let zeros = whole.iter().take_while(|digit| **digit == b'0').count();
    let number = !digits.is_empty() && digits.len() <= DIGITS_MAX && digits != b".";
    let valid = number && whole.iter().chain(fraction).all(u8::is_ascii_digit);
    valid.then_some(Parts { negative, whole: &whole[zeros..], fraction })
}

/// Whether `text` is a number that [`compare`] can read.
pub(super) fn is_number(text: &[u8]) -> bool {
    parts(text).is_some()
}

/// By value: signs, leading zeros (ZEROFILL) and trailing ones do not count. `None` for what is no number.
pub(super) fn compare(left: &[u8], right: &[u8]) -> Option<Ordering> {
    let (left, right) = (parts(left)?, parts(right)?);
    let is_zero = |of: &Parts<'_>| of.whole.is_empty() && of.fraction.iter().all(|digit| *digit == b'0');
    let negative = |of: &Parts<'_>| of.negative && !is_zero(of);
    Some(match (negative(&left), negative(&right)) {
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => magnitude(&left, &right),
        (true, true) => magnitude(&right, &left),
    })
}

fn magnitude(left: &Parts<'_>, right: &Parts<'_>) -> Ordering {
    let whole = left.whole.len().cmp(&right.whole.len()).then_with(|| left.whole.cmp(right.whole));
    whole.then_with(|| {
        let common = left.fraction.len().min(right.fraction.len());
        let any = |rest: &[u8]| rest.iter().any(|digit| *digit != b'0');
        left.fraction[..common]
            .cmp(&right.fraction[..common])
            .then_with(|| any(&left.fraction[common..]).cmp(&any(&right.fraction[common..])))
    })
}

/// A number as an integer of `scale` decimal places: its digits, the most significant first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    scale: usize,
}

impl Decimal {
    /// `None` for what is no number.
    pub(super) fn parse(text: &[u8]) -> Option<Decimal> {
        let parts = parts(text)?;
        let digits = parts.whole.iter().chain(parts.fraction).map(|digit| digit - b'0').collect();
        Some(Decimal { negative: parts.negative, digits, scale: parts.fraction.len() })
    }

    pub(super) fn widened(mut self, scale: usize) -> Decimal {
        self.digits.extend(std::iter::repeat_n(0, scale.saturating_sub(self.scale)));
        self.scale = self.scale.max(scale);
        self
    }

    pub(super) fn add(self, other: Decimal) -> Decimal {
        let scale = self.scale.max(other.scale);
        let (mut left, mut right) = (self.widened(scale), other.widened(scale));
        let length = left.digits.len().max(right.digits.len()) + 1;
        for of in [&mut left, &mut right] {
            let missing = length - of.digits.len();
            of.digits.splice(0..0, std::iter::repeat_n(0, missing));
        }
        if left.negative == right.negative {
            let mut carry = 0;
            for (digit, other) in left.digits.iter_mut().zip(&right.digits).rev() {
                let sum = *digit + other + carry;
                (*digit, carry) = (sum % 10, sum / 10);
            }
            return left;
        }
        if left.digits < right.digits {
            std::mem::swap(&mut left, &mut right);
        }
        let mut borrow = 0;
        for (digit, other) in left.digits.iter_mut().zip(&right.digits).rev() {
            let taken = other + borrow;
            borrow = u8::from(*digit < taken);
            *digit = *digit + 10 * borrow - taken;
        }
        left
    }

    /// As AVG divides: `places` places in all, so that the quotient has `places - scale` more than the sum. The server works in
    /// words of nine digits and cuts the quotient there before it rounds (decimal.cc, do_div_mod).
    pub(super) fn average(self, count: u64, places: usize) -> Decimal {
        let in_words = |digits: usize| digits.div_ceil(WORD_DIGITS) * WORD_DIGITS;
        let whole_words = in_words(self.scale);
        let more = places.saturating_sub(self.scale).saturating_sub(whole_words - self.scale);
        let computed = in_words(whole_words + more);
        let mut quotient = self.widened(computed);
        let (mut rest, divisor) = (0u128, u128::from(count.max(1)));
        for digit in &mut quotient.digits {
            let at = rest * 10 + u128::from(*digit);
            // Less than ten: the rest is less than the divisor.
            *digit = u8::try_from(at / divisor).unwrap_or(9);
            rest = at % divisor;
        }
        quotient.rounded(places)
    }

    /// Half away from zero.
    fn rounded(mut self, places: usize) -> Decimal {
        if self.scale <= places {
            return self.widened(places);
        }
        let kept = self.digits.len().saturating_sub(self.scale - places);
        let up = self.digits.get(kept).is_some_and(|digit| *digit >= 5);
        self.digits.truncate(kept);
        self.scale = places;
        if up {
            let one = Decimal { negative: self.negative, digits: vec![1], scale: 0 };
            let unit = Decimal { scale: places, ..one };
            return self.add(unit);
        }
        self
    }

    /// As servers print it.
    pub(super) fn print(&self) -> Vec<u8> {
        let point = self.digits.len().saturating_sub(self.scale);
        let whole = &self.digits[..point];
        let zeros = whole.iter().take_while(|digit| **digit == 0).count();
        let mut text = Vec::with_capacity(self.digits.len() + 3);
        if self.negative && self.digits.iter().any(|digit| *digit != 0) {
            text.push(b'-');
        }
        match &whole[zeros..] {
            [] => text.push(b'0'),
            digits => text.extend(digits.iter().map(|digit| digit + b'0')),
        }
        if self.scale > 0 {
            text.push(b'.');
            text.extend(std::iter::repeat_n(b'0', self.scale.saturating_sub(self.digits.len())));
            text.extend(self.digits[point..].iter().map(|digit| digit + b'0'));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum(left: &str, right: &str) -> String {
        let [left, right] = [left, right].map(|text| Decimal::parse(text.as_bytes()).unwrap());
        String::from_utf8(left.add(right).print()).unwrap()
    }

    fn average(sum: &str, count: u64, places: usize) -> String {
        String::from_utf8(Decimal::parse(sum.as_bytes()).unwrap().average(count, places).print()).unwrap()
    }

    #[test]
    fn numbers_compare_by_value() {
        let cases: [(&str, &str, Ordering); 9] = [
            ("1", "2", Ordering::Less),
            ("10", "9", Ordering::Greater),
            ("-10", "9", Ordering::Less),
            ("-10", "-9", Ordering::Less),
            ("0010", "10.000", Ordering::Equal),
            ("-0.00", "0", Ordering::Equal),
            ("1.10", "1.1", Ordering::Equal),
            ("1.101", "1.1", Ordering::Greater),
            ("18446744073709551615", "9223372036854775807", Ordering::Greater),
        ];
        for (left, right, expected) in cases {
            assert_eq!(compare(left.as_bytes(), right.as_bytes()), Some(expected), "{left} {right}");
        }
        assert_eq!(compare(b"a", b"1"), None);
        assert_eq!(compare(b"", b"1"), None);
    }

    #[test]
    fn sums_are_exact() {
        assert_eq!(sum("1.05", "2.95"), "4.00");
        assert_eq!(sum("-1.05", "1.05"), "0.00");
        assert_eq!(sum("-1.05", "1"), "-0.05");
        assert_eq!(sum("999999999999999999999999999999", "1"), "1000000000000000000000000000000");
        assert_eq!(sum("-0.01", "0.00"), "-0.01");
    }

    #[test]
    fn averages_are_rounded_as_servers_round_them() {
        assert_eq!(average("10", 3, 4), "3.3333");
        assert_eq!(average("20", 3, 4), "6.6667");
        assert_eq!(average("-20", 3, 4), "-6.6667");
        assert_eq!(average("1.5", 2, 5), "0.75000");
        // Nine places fill a word: cut, not rounded.
        assert_eq!(average("20.00000", 3, 9), "6.666666666");
        assert_eq!(average("0", 3, 4), "0.0000");
    }

    proptest! {
        #[test]
        fn it_agrees_with_machine_integers(left in -1_000_000_000i64..1_000_000_000, right in -1_000_000_000i64..1_000_000_000) {
            prop_assert_eq!(sum(&left.to_string(), &right.to_string()), (left + right).to_string());
            prop_assert_eq!(compare(left.to_string().as_bytes(), right.to_string().as_bytes()), Some(left.cmp(&right)));
        }
    }
}
