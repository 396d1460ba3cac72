//! What came at each server of a cascade.

use serde::{Deserialize, Serialize};

use crate::scenario::Plan;
use crate::sink::stream::StreamReport;

/// The viewers of one server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodePart {
    /// The server.
    pub url: String,
    /// Viewers that were to watch there.
    pub viewers: u64,
    /// Streams that should arrive there.
    pub streams_expected: u64,
    /// Streams of which anything arrived.
    pub streams_arrived: u64,
    /// Packets of media.
    pub packets: u64,
    /// Lost for good.
    pub lost: u64,
    /// Of all packets, from sender to receiver.
    pub latency_ms_mean: f64,
    /// The highest.
    pub latency_ms_max: f64,
}

/// One for each server with viewers, in the order of their URLs.
pub fn of(plan: &Plan, prefix: &str, urls: &[String], streams: &[StreamReport]) -> Vec<NodePart> {
    let new = |url: &String| NodePart { url: url.clone(), ..NodePart::default() };
    let mut parts: Vec<NodePart> = urls.iter().map(new).collect();
    for index in 0..plan.viewers {
        let viewer = plan.viewer(prefix, index);
        let part = &mut parts[viewer.server];
        part.viewers += 1;
        part.streams_expected += viewer.receive.iter().sum::<usize>() as u64;
    }
    for stream in streams.iter().filter(|stream| stream.counts.packets > 0) {
        let of_viewer = stream.receiver.strip_prefix(prefix).and_then(|rest| {
            let number = rest.strip_prefix("-v")?.split('/').next()?;
            number.parse::<u32>().ok()
        });
        let Some(index) = of_viewer.filter(|index| *index < plan.viewers) else { continue };
        let part = &mut parts[plan.viewer(prefix, index).server];
        part.streams_arrived += 1;
        part.packets += stream.counts.packets;
        part.lost += stream.counts.lost;
        // Summed here, divided below.
        part.latency_ms_mean += stream.latency_ms_mean * stream.counts.packets as f64;
        part.latency_ms_max = part.latency_ms_max.max(stream.latency_ms_max);
    }
    for part in &mut parts {
        part.latency_ms_mean /= part.packets.max(1) as f64;
    }
    parts.retain(|part| part.viewers > 0);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::LoadArgs;
    use crate::media::codec::Codec;
    use crate::scenario::Kind;
    use crate::sink::tally::Counts;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        load: LoadArgs,
    }

    #[test]
    fn each_stream_is_counted_where_its_viewer_is() {
        let urls = ["--url=ws://a", "--url=ws://b", "--url=ws://c", "--subscribers=4"];
        let args = Cli::parse_from(["bench"].into_iter().chain(urls)).load;
        let plan = Plan::new(Kind::Cascade, &args).expect("it is a plan");
        let stream = |receiver: &str, packets: u64, latency_ms: f64| StreamReport {
            receiver: receiver.into(),
            source: None,
            codec: Codec::Vp8,
            counts: Counts { packets, lost: 1, ..Counts::default() },
            latency_ms_mean: latency_ms,
            latency_ms_max: latency_ms,
        };
        let streams = [
            stream("bench-v0/both", 30, 1.0),
            stream("bench-v2/both", 10, 5.0),
            stream("bench-v1/both", 0, 0.0),
            stream("bench-p0/both", 7, 1.0),
            stream("stranger", 7, 1.0),
        ];
        let parts = of(&plan, "bench", &args.target.url, &streams);
        let [at_b, at_c] = &*parts else { panic!("{parts:?}") };
        assert_eq!((at_b.viewers, at_b.streams_expected, at_b.streams_arrived), (2, 2, 2));
        assert_eq!((at_b.packets, at_b.lost, at_b.latency_ms_mean), (40, 2, 2.0));
        assert_eq!((at_c.streams_expected, at_c.streams_arrived, at_c.packets), (2, 0, 0));
    }
}
