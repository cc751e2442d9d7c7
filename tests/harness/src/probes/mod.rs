//! Ways to observe an outcome without the code under test.

pub mod grouped;
pub mod live;
pub mod oracle;
pub mod resp;
pub mod subscriber;
pub mod wait;
