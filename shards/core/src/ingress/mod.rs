//! Our own way in: opening, numbering and mending what one client publishes, and reporting on it.
//!
//! str0m keeps ICE, DTLS and SCTP. What comes in as RTP goes past it:
//!
//! ```text
//!   RTP  -> Ingress::open  ---- authentic, new, its arrival noted
//!        -> Ingress::place ---- its section and layer, a repeat undone ----> Session::take
//!   RTCP -> sender reports, answers that tell the round-trip time
//!   what came, what is missing, keyframes ---- Ingress::report ----> RTCP of an SSRC of its own
//! ```
//!
//! | file | what it owns |
//! | --- | --- |
//! | `receiver` | all of that, of one session; `reporting` what it is told |
//! | `places` | from an SSRC to a section and a layer, or to the stream that it repeats |
//! | `fields` | header extensions that are read |
//! | `header` | RTP headers |
//! | `window` | which numbers of a sequence came |
//! | `stream` | one stream: its numbers, what is missing of it, its report block |
//! | `missing` | requests for repeats |
//! | `arrivals` | transport-wide feedback |
//! | `report` | receiver reports |
//!
//! The load harness receives as well, and uses what is public here.

mod arrivals;
mod fields;
mod header;
mod missing;
mod places;
mod receiver;
mod report;
mod stream;
mod window;

pub use arrivals::Arrivals;
pub(crate) use fields::{Fields, Ids};
pub use header::Header;
pub use missing::{AGAIN, Missing};
pub(crate) use receiver::{Arrived, Ingress, Numbers};
pub use report::{BLOCKS_MAX, write_report};
pub use stream::{SenderTime, Stream};
pub use window::{Seen, Window, extend};
