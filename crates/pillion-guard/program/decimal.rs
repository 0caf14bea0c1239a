//! Numbers as text, without an allocation. Both guards and the supervisor compile this file; it needs `core` alone.

/// Calls `digit` with each decimal digit of the number, the highest first.
pub fn for_each_digit(number: u64, mut digit: impl FnMut(u8)) {
    let mut unit = 1;
    while number / unit >= 10 {
        unit *= 10;
    }
    while unit > 0 {
        digit(b'0' + (number / unit % 10) as u8);
        unit /= 10;
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_have_the_digits_that_std_writes() {
        for number in [0, 7, 10, 4711, 100_000, u64::MAX] {
            let mut digits = String::new();
            super::for_each_digit(number, |digit| digits.push(char::from(digit)));
            assert_eq!(digits, number.to_string());
        }
    }
}
