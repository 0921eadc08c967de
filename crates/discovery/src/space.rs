//! The space of attribute codes: how attributes become codes and codes a key, and where in it a requirement
//! can be met.

pub mod area;
pub mod key;
pub mod region;
pub mod schema;
