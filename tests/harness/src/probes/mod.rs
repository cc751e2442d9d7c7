//! What looks at the outcome without the code under test.

pub mod oracle;
pub mod resp;
pub mod subscriber;
pub mod wait;
