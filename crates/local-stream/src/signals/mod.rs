//! What signals a replay has raised: counts for the summary, and pictures for a page.

mod gallery;
mod page;
mod summary;

pub(crate) use gallery::Gallery;
pub(crate) use page::page;
pub(crate) use summary::SignalSummary;
