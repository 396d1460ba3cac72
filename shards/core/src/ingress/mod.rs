//! What a receiver of RTP does, whoever it is: it tells new packets from old ones, asks for those that are
//! missing, and reports on what came.
//!
//! | file | what it owns |
//! | --- | --- |
//! | `header` | RTP headers, as far as they are looked at |
//! | `window` | which numbers of a sequence came |
//! | `stream` | one stream: its numbers, what is missing of it, its report block |
//! | `missing` | requests for repeats |
//! | `arrivals` | transport-wide feedback |
//! | `report` | receiver reports |

mod arrivals;
mod header;
mod missing;
mod report;
mod stream;
mod window;

pub use arrivals::Arrivals;
pub use header::Header;
pub use missing::{AGAIN, Missing};
pub use report::{BLOCKS_MAX, write_report};
pub use stream::{SenderTime, Stream};
pub use window::{Seen, Window, extend};
