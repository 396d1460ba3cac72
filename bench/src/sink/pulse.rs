//! How long a receiver went without media.
//!
//! ```text
//!   media      x x x x x                 x x x x x x           x = a packet
//!   peers      [-- first peer --]    [---- second peer ----]   the same client, joined anew
//!   gap                 |<------------->|
//! ```
//!
//! A client that lost its server comes back with another peer connection, so gaps are looked for
//! across all peers of one client, and also until the end: a client that never got media again is
//! without it still.

use std::collections::HashMap;

/// The packets of one kind that one peer received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pulse {
    /// When the first one came, in nanoseconds of the harness's clock; where counting began anew in
    /// between, that time.
    first_ns: u64,
    last_ns: u64,
    gap_ns: u64,
}

impl Pulse {
    /// A packet came.
    pub fn beat(pulse: &mut Option<Pulse>, now_ns: u64) {
        let pulse = pulse.get_or_insert(Pulse { first_ns: now_ns, last_ns: now_ns, gap_ns: 0 });
        pulse.gap_ns = pulse.gap_ns.max(now_ns.saturating_sub(pulse.last_ns));
        pulse.last_ns = now_ns;
    }

    /// Counting begins anew: what had come goes on from here.
    pub fn reset(&mut self, now_ns: u64) {
        *self = Pulse { first_ns: now_ns, last_ns: now_ns, gap_ns: 0 };
    }
}

/// What one peer received: sound and pictures.
#[derive(Clone, Debug, Default)]
pub struct Pulses {
    /// The client, and which of its peers, as `identity/way`.
    pub peer: String,
    /// Sound.
    pub audio: Option<Pulse>,
    /// Pictures.
    pub video: Option<Pulse>,
}

/// The longest gap of each client until `end_ns`. Pictures count where there are any, since a still
/// picture is seen even while there is sound.
pub fn longest(all: &[Pulses], end_ns: u64) -> Vec<(String, u64)> {
    let mut clients: HashMap<&str, [Vec<Pulse>; 2]> = HashMap::new();
    for pulses in all {
        let client = pulses.peer.split('/').next().unwrap_or_default();
        let [video, audio] = clients.entry(client).or_default();
        video.extend(pulses.video);
        audio.extend(pulses.audio);
    }
    let gap = |(client, [video, audio]): (&str, [Vec<Pulse>; 2])| {
        let beats = if video.is_empty() { audio } else { video };
        (!beats.is_empty()).then(|| (client.to_owned(), longest_of(beats, end_ns)))
    };
    let mut gaps: Vec<(String, u64)> = clients.into_iter().filter_map(gap).collect();
    gaps.sort_unstable_by(|one, two| (two.1, &one.0).cmp(&(one.1, &two.0)));
    gaps
}

/// Of at least one.
fn longest_of(mut beats: Vec<Pulse>, end_ns: u64) -> u64 {
    beats.sort_unstable_by_key(|pulse| pulse.first_ns);
    let (mut longest, mut last) = (0, beats[0].first_ns);
    for pulse in beats {
        longest = longest.max(pulse.gap_ns).max(pulse.first_ns.saturating_sub(last));
        last = last.max(pulse.last_ns);
    }
    longest.max(end_ns.saturating_sub(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pulse(beats: &[u64]) -> Option<Pulse> {
        let mut pulse = None;
        beats.iter().for_each(|at| Pulse::beat(&mut pulse, *at));
        pulse
    }

    fn pulses(peer: &str, audio: &[u64], video: &[u64]) -> Pulses {
        Pulses { peer: peer.into(), audio: pulse(audio), video: pulse(video) }
    }

    #[test]
    fn the_longest_gap_is_found_wherever_it_is() {
        let rows: [(&[&[u64]], u64); 5] = [
            // Within one peer; before another one of the same client; at the end.
            (&[&[10, 20, 50, 60]], 40),
            (&[&[10, 20], &[75, 80]], 55),
            (&[&[10, 20]], 80),
            // Two peers at once are no gap.
            (&[&[10, 40, 70, 98], &[20, 50]], 30),
            // The order in which peers are told of does not matter.
            (&[&[75, 80], &[10, 20]], 55),
        ];
        for (peers, want) in rows {
            let all: Vec<Pulses> = peers.iter().map(|beats| pulses("a/both", &[], beats)).collect();
            assert_eq!(longest(&all, 100), [("a".to_owned(), want)], "{peers:?}");
        }
    }

    #[test]
    fn clients_are_apart_and_pictures_go_first() {
        let all = [
            pulses("a/rx", &[10, 20, 99], &[10, 90]),
            pulses("b/rx", &[10, 95], &[]),
            pulses("c/tx", &[], &[]),
        ];
        assert_eq!(longest(&all, 100), [("b".to_owned(), 85), ("a".to_owned(), 80)]);
        assert!(longest(&[], 100).is_empty());
    }

    #[test]
    fn counting_anew_forgets_a_gap_and_not_that_media_came() {
        let mut pulse = pulse(&[10, 60]).expect("it beats");
        pulse.reset(70);
        let all = [Pulses { peer: "a/rx".into(), audio: None, video: Some(pulse) }];
        assert_eq!(longest(&all, 75), [("a".to_owned(), 5)]);
    }
}
