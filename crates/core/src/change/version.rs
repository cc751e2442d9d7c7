//! Row versions, and the rule that decides whether a commit is applied.
//!
//! The in-memory store calls the rule. The Lua script of the Redis adapter and the simulated server repeat it: a script
//! cannot call Rust, and a mistake planted in core must not change the simulated server. Tests compare both with the rule.

use crate::source::{SequenceNumber, SourceRow};

/// The version of a row: its data time and its position in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowVersion {
    /// Data time, ms since 1970.
    pub data_time_ms: i64,
    /// The stream's ARN.
    pub stream: String,
    /// Sequence number within the stream.
    pub sequence: SequenceNumber,
}

/// How a row relates to the stored version of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionStatus {
    /// The row is newer, or nothing is stored.
    Newer,
    /// The row's data is older than the stored data.
    Late,
    /// The row is the stored row, or an earlier row of the same stream with the same data time.
    AlreadyApplied,
}

impl RowVersion {
    /// The version of a row.
    pub fn of(row: &SourceRow) -> Self {
        Self { data_time_ms: row.data_time_ms, stream: row.stream.clone(), sequence: row.sequence.clone() }
    }

    /// Compares the version with the stored one.
    ///
    /// The data time decides first, because sequence numbers of different streams are not comparable, and AWS does not
    /// promise their order across shard splits.
    pub fn status(&self, stored: Option<&Self>) -> VersionStatus {
        let Some(stored) = stored else { return VersionStatus::Newer };
        if self.data_time_ms < stored.data_time_ms {
            VersionStatus::Late
        } else if self.data_time_ms == stored.data_time_ms
            && self.stream == stored.stream
            && self.sequence <= stored.sequence
        {
            VersionStatus::AlreadyApplied
        } else {
            VersionStatus::Newer
        }
    }
}

/// How a row relates to what is known of its key: to the stored version or, where nothing is stored, to the old image.
///
/// A row of history is late whatever is stored: its data time lies more than `baseline_ttl`, in seconds, before its
/// creation time. History that is filled in is no news, and must not become a baseline.
pub fn row_status(row: &SourceRow, stored: Option<&RowVersion>, baseline_ttl: u64) -> VersionStatus {
    if is_history(row, baseline_ttl) || (stored.is_none() && is_older_than_old_image(row)) {
        return VersionStatus::Late;
    }
    RowVersion::of(row).status(stored)
}

/// False without a creation time: the age of such a row is unknown.
fn is_history(row: &SourceRow, baseline_ttl: u64) -> bool {
    let most = i64::try_from(baseline_ttl).unwrap_or(i64::MAX).saturating_mul(1_000);
    row.created_ms.is_some_and(|created| created - row.data_time_ms > most)
}

/// False if the row has no old image, or if that states no data time.
fn is_older_than_old_image(row: &SourceRow) -> bool {
    let old = row.previous.as_ref().and_then(|previous| previous.data_time_ms);
    old.is_some_and(|old| row.data_time_ms < old)
}

/// A row that must be committed before another row of the same subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Predecessor {
    /// Key of its baseline. May differ from the key of the later row: one subject has several kinds of rows.
    pub baseline_key: String,
    /// Its version.
    pub version: RowVersion,
}

/// What the store does with a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitDecision {
    /// Write the row.
    Apply,
    /// Change nothing: the store has newer data.
    Late,
    /// Change nothing: the store has this row, or a later one of the same stream and data time.
    AlreadyApplied,
    /// Change nothing: the store does not have the predecessor, so the row was compared with a value that is not
    /// stored.
    MissingPredecessor,
}

/// Decides whether a commit of `version` is applied.
///
/// `stored` is the version under the row's own baseline key. `stored_predecessor` is the version under the
/// predecessor's baseline key, if the commit names a predecessor.
pub fn commit_decision(
    version: &RowVersion,
    stored: Option<&RowVersion>,
    predecessor: Option<&Predecessor>,
    stored_predecessor: Option<&RowVersion>,
) -> CommitDecision {
    match version.status(stored) {
        VersionStatus::Late => CommitDecision::Late,
        VersionStatus::AlreadyApplied => CommitDecision::AlreadyApplied,
        VersionStatus::Newer => match predecessor {
            Some(required) if stored_predecessor != Some(&required.version) => {
                CommitDecision::MissingPredecessor
            }
            Some(_) | None => CommitDecision::Apply,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(time: i64, stream: &str, sequence: &str) -> RowVersion {
        let sequence = SequenceNumber::new(sequence).unwrap();
        RowVersion { data_time_ms: time, stream: stream.into(), sequence }
    }

    #[test]
    fn the_data_time_decides_first_then_the_sequence_within_one_stream() {
        let stored = version(100, "s", "50");
        for (incoming, status) in [
            (version(99, "s", "60"), VersionStatus::Late),
            (version(99, "t", "60"), VersionStatus::Late),
            (version(100, "s", "50"), VersionStatus::AlreadyApplied),
            (version(100, "s", "9"), VersionStatus::AlreadyApplied),
            (version(100, "s", "051"), VersionStatus::Newer),
            (version(100, "t", "1"), VersionStatus::Newer),
            (version(101, "s", "1"), VersionStatus::Newer),
        ] {
            assert_eq!(incoming.status(Some(&stored)), status, "{incoming:?}");
        }
        assert_eq!(stored.status(None), VersionStatus::Newer);
    }

    #[test]
    fn a_commit_is_applied_only_on_top_of_its_predecessor() {
        let (old, new) = (version(100, "s", "50"), version(101, "s", "51"));
        let after_old = Predecessor { baseline_key: "k".into(), version: old.clone() };
        for (stored, predecessor, stored_predecessor, decision) in [
            (None, None, None, CommitDecision::Apply),
            (Some(&old), None, None, CommitDecision::Apply),
            (Some(&new), None, None, CommitDecision::AlreadyApplied),
            (None, Some(&after_old), Some(&old), CommitDecision::Apply),
            (None, Some(&after_old), None, CommitDecision::MissingPredecessor),
            (None, Some(&after_old), Some(&new), CommitDecision::MissingPredecessor),
            // An applied row stays applied, even if its predecessor is no longer stored.
            (Some(&new), Some(&after_old), None, CommitDecision::AlreadyApplied),
        ] {
            assert_eq!(commit_decision(&new, stored, predecessor, stored_predecessor), decision);
        }
        assert_eq!(commit_decision(&old, Some(&new), None, None), CommitDecision::Late);
    }
}
