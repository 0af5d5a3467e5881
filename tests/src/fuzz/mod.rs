//! What the fuzz targets do with their bytes, so that a stable test can do the same.
//!
//! Each takes any bytes at all and fails by panicking, if something does that must not happen on any bytes.

mod batch;
mod folder;
mod open;
mod request;

pub use self::batch::batch;
pub use self::open::open;
pub use self::request::request;

/// A target by its name, which is also the name of its corpus.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 3] = [("request", request), ("batch", batch), ("open", open)];
