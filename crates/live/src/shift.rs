//! Moves the times of a recorded stream to now, so that the page shows ages that make sense.

use serde_json::Value;

/// Times at or after this are ms, before it s: the first is in 1973, the second in 5138.
const FIRST_MS: f64 = 1e11;

/// A recorded moment, and the moment at which it is played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Shift {
    /// The recorded moment, ms since 1970.
    pub(crate) from_ms: i64,
    /// Now, ms since 1970.
    pub(crate) to_ms: i64,
    /// How many times as fast as recorded.
    pub(crate) speed: f64,
}

impl Shift {
    /// When a record was made, ms since 1970.
    pub(crate) fn created_ms(record: &Value) -> Option<i64> {
        let created = record["dynamodb"]["ApproximateCreationDateTime"].as_f64()?;
        Some(if created < FIRST_MS { created * 1e3 } else { created } as i64)
    }

    fn ms(self, ms: f64) -> f64 {
        self.to_ms as f64 + (ms - self.from_ms as f64) / self.speed
    }

    /// Moves the times of a record.
    pub(crate) fn apply(self, record: &mut Value) {
        let Some(stream) = record.get_mut("dynamodb") else { return };
        if let Some(created) = stream.get_mut("ApproximateCreationDateTime")
            && let Some(time) = created.as_f64()
        {
            let ms = if time < FIRST_MS { time * 1e3 } else { time };
            *created = (self.ms(ms) as i64).into();
        }
        for part in ["Keys", "NewImage", "OldImage"] {
            let Some(image) = stream.get_mut(part) else { continue };
            for name in ["SK", "SK_ORIGNAL", "timestamp"] {
                let Some(attribute) = image.get_mut(name) else { continue };
                for kind in ["N", "S"] {
                    self.attribute(attribute.get_mut(kind));
                }
            }
        }
    }

    /// Moves a time in s. A sort key of 0 is no time.
    fn attribute(self, value: Option<&mut Value>) {
        let Some(value) = value else { return };
        let Some(seconds) = value.as_str().and_then(|text| text.parse::<f64>().ok()) else { return };
        if seconds > 0.0 && seconds < FIRST_MS {
            *value = format!("{:.0}", (self.ms(seconds * 1e3) / 1e3).floor()).into();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_times_move_together() {
        let mut record = json!({"dynamodb": {
            "ApproximateCreationDateTime": 1_000_010,
            "Keys": {"PK": {"S": "coingecko#x"}, "SK": {"N": "0"}},
            "NewImage": {"SK": {"N": "0"}, "timestamp": {"N": "1000000"}, "price": {"N": "5"}},
            "OldImage": {"SK_ORIGNAL": {"S": "999990"}},
        }});
        assert_eq!(Shift::created_ms(&record), Some(1_000_010_000));
        let shift = Shift { from_ms: 1_000_010_000, to_ms: 2_000_000_000_000, speed: 10.0 };
        shift.apply(&mut record);
        let stream = &record["dynamodb"];
        assert_eq!(stream["ApproximateCreationDateTime"], 2_000_000_000_000_i64);
        assert_eq!(stream["NewImage"]["timestamp"]["N"], "1999999999");
        assert_eq!(stream["OldImage"]["SK_ORIGNAL"]["S"], "1999999998");
        assert_eq!(
            (&stream["NewImage"]["SK"]["N"], &stream["NewImage"]["price"]["N"]),
            (&json!("0"), &json!("5"))
        );
    }
}
