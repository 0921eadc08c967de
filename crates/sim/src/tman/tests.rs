//! What is promised of rings that make themselves.

use super::*;
