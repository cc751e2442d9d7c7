//! Formats numbers and names for people.

/// Most characters of a name.
const MAX_NAME: usize = 34;

/// `46,619`.
pub(crate) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 record`, `2 records`, `2 batches`, `2 retries`.
pub(crate) fn count_of(number: u64, noun: &str) -> String {
    let plural = match noun.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if noun.ends_with("ch") => format!("{noun}es"),
        None => format!("{noun}s"),
    };
    format!("{} {}", count(number), if number == 1 { noun } else { &plural })
}

/// `$1.24B`, `-$312.50K`, `$0.9998`, `$3.21e-9`.
pub(crate) fn usd(amount: f64) -> String {
    let sign = if amount < 0.0 { "-" } else { "" };
    let magnitude = amount.abs();
    let scaled = [(1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")]
        .into_iter()
        // Without this factor, 999.996 thousand would round to $1000.00K.
        .find(|(unit, _)| magnitude >= unit * 0.999_995);
    match scaled {
        _ if magnitude >= 1e16 => format!("{sign}${magnitude:.2e}"),
        Some((unit, letter)) => format!("{sign}${:.2}{letter}", magnitude / unit),
        None if magnitude == 0.0 => "$0".to_owned(),
        None if magnitude >= 1.1 => format!("{sign}${magnitude:.2}"),
        None if magnitude >= 0.01 => format!("{sign}${magnitude:.4}"),
        None if magnitude >= 1e-6 => {
            // Four significant digits, so that a tiny price does not become 0.
            let places = 3 - magnitude.log10().floor() as i32;
            format!("{sign}${magnitude:.*}", usize::try_from(places).unwrap_or_default())
        }
        None => format!("{sign}${magnitude:.2e}"),
    }
}

/// `$90,050.11`: like [`usd`], but to the cent below a million, because changes of a price are small.
pub(crate) fn price(amount: f64) -> String {
    let cents = (amount.abs() * 100.0).round();
    if !(100_000.0..100_000_000.0).contains(&cents) {
        return usd(amount);
    }
    let (sign, cents) = (if amount < 0.0 { "-" } else { "" }, cents as u64);
    format!("{sign}${}.{:02}", count(cents / 100), cents % 100)
}

/// `$10,000`, `$0.01`: an amount as somebody wrote it, without rounding.
pub(crate) fn plain_usd(amount: f64) -> String {
    if amount.fract() == 0.0 && (0.0..1e15).contains(&amount) {
        return format!("${}", count(amount as u64));
    }
    format!("${amount}")
}

/// An amount, with a plus sign if it is positive.
pub(crate) fn signed(amount: f64, format: impl Fn(f64) -> String) -> String {
    let plus = if amount > 0.0 { "+" } else { "" };
    format!("{plus}{}", format(amount))
}

/// `+3.2 %`, `+0.04 %`, `+1,234 %`.
pub(crate) fn percent(percent: f64) -> String {
    let (sign, magnitude) = (if percent < 0.0 { "-" } else { "+" }, percent.abs());
    match magnitude {
        _ if magnitude >= 1e15 => format!("{sign}{magnitude:.1e} %"),
        _ if magnitude >= 999.95 => format!("{sign}{} %", count(magnitude.round() as u64)),
        _ if magnitude >= 0.95 => format!("{sign}{magnitude:.1} %"),
        _ => format!("{sign}{magnitude:.2} %"),
    }
}

/// `0.42 ms`, `12 ms`, `1.3 s`.
pub(crate) fn millis(ms: f64) -> String {
    match ms {
        _ if ms >= 10_000.0 => format!("{:.0} s", ms / 1e3),
        _ if ms >= 1_000.0 => format!("{:.1} s", ms / 1e3),
        _ if ms >= 10.0 => format!("{ms:.0} ms"),
        _ if ms >= 1.0 => format!("{ms:.1} ms"),
        _ if ms >= 0.1 => format!("{ms:.2} ms"),
        _ => format!("{:.0} µs", ms * 1e3),
    }
}

/// `2026-01-08 10:02`, in UTC.
pub(crate) fn utc(ms: i64) -> String {
    let minutes = ms.div_euclid(60_000);
    let (year, month, day) = date(minutes.div_euclid(1_440));
    let minute = minutes.rem_euclid(1_440);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}", minute / 60, minute % 60)
}

/// Year, month and day of a day since 1970. The years begin in March here, so that the leap day is their last day.
fn date(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let (era, day_of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (400 * era + year_of_era + i64::from(month <= 2), month, day_of_month)
}

/// `3 d 4 h`, `2 h 5 min`, `7 min`, `12 s`: a length of time in its largest units.
pub(crate) fn span(ms: i64) -> String {
    let seconds = ms / 1_000;
    match (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{} d {hours} h", count(days.unsigned_abs())),
    }
}

/// A name from the input: without control characters, cut to a fixed length.
pub(crate) fn short_name(text: &str) -> String {
    truncated(&without_control_characters(text), MAX_NAME)
}

/// A text with replacement characters in place of control characters, which could drive the terminal.
pub(crate) fn without_control_characters(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

/// At most `max` characters of a text. A cut text ends in `…`.
pub(crate) fn truncated(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    text.chars().take(max.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_thousands() {
        assert_eq!(
            [0, 999, 1_000, 46_619, 1_234_567].map(count),
            ["0", "999", "1,000", "46,619", "1,234,567"]
        );
        assert_eq!([count_of(1, "retry"), count_of(2, "record")], ["1 retry", "2 records"]);
        assert_eq!([count_of(0, "batch"), count_of(2_000, "retry")], ["0 batches", "2,000 retries"]);
    }

    #[test]
    fn times_are_in_utc() {
        for (ms, text) in [
            (0, "1970-01-01 00:00"),
            (951_827_696_000, "2000-02-29 12:34"),
            (1_767_866_532_000, "2026-01-08 10:02"),
            (253_402_300_799_999, "9999-12-31 23:59"),
        ] {
            assert_eq!(utc(ms), text);
        }
        let spans = [59_999, 7 * 60_000, 7_500_000, 273_600_000].map(span);
        assert_eq!(spans, ["59 s", "7 min", "2 h 5 min", "3 d 4 h"]);
    }

    #[test]
    fn thresholds_are_written_as_they_were_set() {
        assert_eq!([10_000.0, 0.01, 2_500.5].map(plain_usd), ["$10,000", "$0.01", "$2500.5"]);
    }

    #[test]
    fn amounts_are_short() {
        for (amount, text) in [
            (0.0, "$0"),
            (1.24e9, "$1.24B"),
            (-312_500.0, "-$312.50K"),
            (999_999.9, "$1.00M"),
            (999.999, "$1.00K"),
            (3.2e12, "$3.20T"),
            (1e21, "$1.00e21"),
            (42.0, "$42.00"),
            (0.9998, "$0.9998"),
            (0.000_012_34, "$0.00001234"),
            (-3.21e-9, "-$3.21e-9"),
        ] {
            assert_eq!(usd(amount), text);
        }
        assert_eq!([5.0, -5.0, 0.0].map(|amount| signed(amount, usd)), ["+$5.00", "-$5.00", "$0"]);
        for (amount, text) in [
            (90_050.109, "$90,050.11"),
            (-3_131.0, "-$3,131.00"),
            (999.5, "$999.50"),
            (999_999.99, "$999,999.99"),
            (2.5e6, "$2.50M"),
        ] {
            assert_eq!(price(amount), text);
        }
    }

    #[test]
    fn changes_and_times_are_short() {
        for (value, text) in [
            (3.2, "+3.2 %"),
            (-0.04, "-0.04 %"),
            (1234.4, "+1,234 %"),
            (999.97, "+1,000 %"),
            (1e18, "+1.0e18 %"),
        ] {
            assert_eq!(percent(value), text);
        }
        for (ms, text) in [
            (0.0421, "42 µs"),
            (0.42, "0.42 ms"),
            (5.25, "5.2 ms"),
            (12.4, "12 ms"),
            (1_300.0, "1.3 s"),
            (3e4, "30 s"),
        ] {
            assert_eq!(millis(ms), text);
        }
    }

    #[test]
    fn names_cannot_drive_a_terminal() {
        assert_eq!(short_name("a\u{1b}[31mb\nc"), "a\u{fffd}[31mb\u{fffd}c");
        assert_eq!(short_name(&"x".repeat(40)).chars().count(), MAX_NAME);
    }
}
