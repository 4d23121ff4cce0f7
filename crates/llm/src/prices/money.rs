//! Amounts of money as whole numbers: a price in femto-dollars per token, a cost in nano-dollars.
//!
//! Published prices go below a nano-dollar per token ($0.075 per million tokens is 75 nano-dollars a token, and its cached half
//! 37.5), so prices have six digits more, and only the sum of a call is rounded.

use std::fmt;

/// The highest price that is believed: a dollar per token.
const MAX_FEMTO: u64 = 1_000_000_000_000_000;
/// Femto-dollars per nano-dollar.
const FEMTO_PER_NANO: u128 = 1_000_000;
const NANO_PER_DOLLAR: u64 = 1_000_000_000;

/// The price of one token, in femto-dollars (10⁻¹⁵ dollars).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(u64);

impl Rate {
    /// From a decimal number of dollars per million tokens, as vendors publish prices and as our own form has them. It must be a
    /// whole number of femto-dollars per token.
    ///
    /// # Errors
    /// What the number should be.
    pub(crate) fn per_million(number: &str) -> Result<Self, &'static str> {
        let (femto, is_exact) = femto(number, 9)?;
        let problem = "must have at most nine decimal places, of which the last is a femto-dollar per token";
        is_exact.then_some(Self(femto)).ok_or(problem)
    }

    /// From a decimal number of dollars per token, as LiteLLM has them: results of floating-point arithmetic such as
    /// 1.9999999999999998e-07, which are rounded to the next femto-dollar. What is not free must not be rounded to 0.
    ///
    /// # Errors
    /// What the number should be.
    pub(crate) fn per_token(number: &str) -> Result<Self, &'static str> {
        match femto(number, 15)? {
            (0, false) => Err("must be 0 or at least 1e-15, a femto-dollar per token"),
            (femto, _) => Ok(Self(femto)),
        }
    }

    /// In femto-dollars per token.
    pub(crate) const fn femto_dollars(self) -> u64 {
        self.0
    }

    /// The price of this many tokens, in femto-dollars: a product of two 64-bit numbers fits into 128 bits.
    pub(super) fn for_tokens(self, tokens: u64) -> u128 {
        u128::from(self.0) * u128::from(tokens)
    }
}

/// What a call cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Cost {
    /// In nano-dollars (10⁻⁹ dollars).
    pub nano_dollars: u64,
}

impl Cost {
    /// Rounds to the next nano-dollar, half of one upwards; what is too large is the largest cost.
    pub(super) fn of_femto_dollars(femto: u128) -> Self {
        let nano = femto.saturating_add(FEMTO_PER_NANO / 2) / FEMTO_PER_NANO;
        Self { nano_dollars: u64::try_from(nano).unwrap_or(u64::MAX) }
    }

    /// In dollars, for documents that want a number; sums are to be made of nano-dollars.
    pub fn dollars(self) -> f64 {
        self.nano_dollars as f64 / NANO_PER_DOLLAR as f64
    }
}

impl fmt::Display for Cost {
    /// A decimal number of dollars without trailing zeros and without a sign: `0.0105`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.nano_dollars / NANO_PER_DOLLAR, self.nano_dollars % NANO_PER_DOLLAR);
        if part == 0 {
            return write!(f, "{whole}");
        }
        let digits = format!("{part:09}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

/// A decimal number of JSON times 10 to the power of `shift`, rounded to a whole number, and whether it was one already.
fn femto(number: &str, shift: i32) -> Result<(u64, bool), &'static str> {
    const NUMBER: &str = "must be a number of dollars, such as 2.5, not negative";
    const LARGE: &str = "is more than a dollar per token";
    let (digits, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let exponent = exponent.strip_prefix('+').unwrap_or(exponent).parse::<i32>().map_err(|_| NUMBER)?;
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || !whole.bytes().chain(part.bytes()).all(|byte| byte.is_ascii_digit()) {
        return Err(NUMBER);
    }
    // Digits beyond these do not change what it is rounded to.
    let (part, beyond) = part.split_at_checked(30).unwrap_or((part, ""));
    let is_whole = beyond.bytes().all(|digit| digit == b'0');
    let part = part.trim_end_matches('0');
    let power = i64::from(exponent) + i64::from(shift) - i64::try_from(part.len()).unwrap_or(i64::MAX);
    let mut digits = whole.bytes().chain(part.bytes()).map(|digit| u128::from(digit - b'0'));
    let mantissa = digits.try_fold(0_u128, |sum, digit| sum.checked_mul(10)?.checked_add(digit)).ok_or(LARGE)?;
    if mantissa == 0 {
        return Ok((0, is_whole));
    }
    let scale = |power: u64| u32::try_from(power).ok().and_then(|power| 10_u128.checked_pow(power));
    let (femto, rest) = if power >= 0 {
        (scale(power.unsigned_abs()).and_then(|scale| mantissa.checked_mul(scale)).ok_or(LARGE)?, 0)
    } else {
        scale(power.unsigned_abs()).map_or((0, mantissa), |scale| {
            let rest = mantissa % scale;
            (mantissa / scale + u128::from(rest >= scale.div_ceil(2)), rest)
        })
    };
    let femto = u64::try_from(femto).ok().filter(|femto| *femto <= MAX_FEMTO).ok_or(LARGE)?;
    Ok((femto, is_whole && rest == 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_as_tables_write_them() {
        for (number, femto) in [
            ("2.5e-06", 2_500_000_000),
            ("0.0000025", 2_500_000_000),
            ("3.75e-8", 37_500_000),
            ("1.9999999999999998e-07", 200_000_000),
            ("0", 0),
            ("0.0", 0),
            ("1", MAX_FEMTO),
            ("1E0", MAX_FEMTO),
            ("0e-400", 0),
            ("0.00000000000000000000000000000000000000000000000000000000000", 0),
            ("1.00000000000000000000000000000000000000000000000000000000000e-6", 1_000_000_000),
            ("5e-16", 1),
            ("1e-15", 1),
        ] {
            assert_eq!(Rate::per_token(number), Ok(Rate(femto)), "{number}");
        }
        assert_eq!(Rate::per_million("2.5"), Rate::per_token("2.5e-6"));
        assert_eq!(Rate::per_million("0.0375"), Ok(Rate(37_500_000)));
        for wrong in [
            "",
            "-1",
            "-0.5",
            "1.1",
            "1e400",
            "NaN",
            "1e",
            "\"1\"",
            "true",
            ".5",
            "99999999999999999999999999999999999999999",
        ] {
            assert!(Rate::per_token(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_price_is_never_rounded_to_nothing_and_our_own_form_is_exact() {
        let long = "0.00000000000000000000000000000000000000000000000000000000001";
        for small in ["4e-16", "0.0000000000000004999", "1e-400", long] {
            let fault = Rate::per_token(small).unwrap_err();
            assert!(fault.contains("at least 1e-15"), "{small}: {fault}");
        }
        for fine in ["1e-10", "0.0000000005", "0.0000000004", "2.5000000001", "0.30000000000000004", "1e-400", long] {
            let fault = Rate::per_million(fine).unwrap_err();
            assert!(fault.contains("at most nine decimal places"), "{fine}: {fault}");
        }
        for (exact, femto) in
            [("0.000000001", 1), ("1e-9", 1), ("25000e-4", 2_500_000_000), ("2.5000000000000", 2_500_000_000)]
        {
            assert_eq!(Rate::per_million(exact), Ok(Rate(femto)), "{exact}");
        }
    }

    #[test]
    fn dollars_are_shown_without_trailing_zeros() {
        for (nano, shown) in [(0, "0"), (1, "0.000000001"), (10_500_000, "0.0105"), (3_000_000_000, "3")] {
            assert_eq!(Cost { nano_dollars: nano }.to_string(), shown);
        }
    }

    proptest! {
        #[test]
        fn a_number_that_a_program_writes_is_read_exactly(femto in 0..=MAX_FEMTO) {
            let dollars = format!("{}.{:015}", femto / MAX_FEMTO, femto % MAX_FEMTO);
            prop_assert_eq!(Rate::per_token(&dollars), Ok(Rate(femto)));
            prop_assert_eq!(Rate::per_token(&format!("{femto}e-15")), Ok(Rate(femto)));
            let million = format!("{}.{:09}", femto / 1_000_000_000, femto % 1_000_000_000);
            prop_assert_eq!(Rate::per_million(&million), Ok(Rate(femto)));
        }

        #[test]
        fn no_text_panics(text: String, number in "[0-9]{0,45}(\\.[0-9]{0,45})?([eE][+-]?[0-9]{0,12})?") {
            let _ = (Rate::per_token(&text), Rate::per_token(&number), Rate::per_million(&number));
        }
    }
}
