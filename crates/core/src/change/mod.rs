//! What counts as a change (specification, section 2).
//!
//! [`row_status`] decides whether a row is newer than its baseline, late, or already applied. [`detect`] compares a
//! newer row with its [`BaselineValues`] under the [`ChangeRules`].

mod baseline;
mod detect;
mod previous;
mod rules;
mod version;

pub use baseline::{Announced, Baseline, BaselineValues, PriceValues, TvlValues};
pub use detect::{Detection, FieldChange, Finding, Moved, UpdateType, detect};
pub(crate) use previous::PreviousTvl;
pub use rules::{ChangeBaseline, ChangeRules, Threshold};
pub use version::{CommitDecision, Predecessor, RowVersion, VersionStatus, commit_decision, row_status};
