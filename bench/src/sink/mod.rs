//! What receivers saw: loss, repairs, duplicates, disorder, corruption and latency.
//!
//! | module | what it owns |
//! | --- | --- |
//! | [`tally`] | the sums, and the histogram of latency |
//! | [`stream`] | one receiver's streams |
//! | [`pulse`] | how long a receiver went without media |

pub mod pulse;
pub mod stream;
pub mod tally;
