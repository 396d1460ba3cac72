//! Descriptions of a client: its offers, and its answers to ours.
//!
//! An input is a list of texts behind a byte that chooses the session's role. Whatever they say: the
//! shard stands, no session is lost to a panic, each offer is answered or refused, an answer of ours is
//! one that an SDK can read, with the offer's sections in the offer's order, and after the session
//! nothing is left.
#![no_main]

use std::cell::RefCell;
use std::time::{Duration, Instant};

use antipode_base::command::{CloseReason, Command, Role};
use antipode_base::ids::SessionId;
use antipode_base::limits::SDP_MAX;
use antipode_base::notice::{EndReason, Notice};
use antipode_core::{Input, Output, Shard};
use antipode_fuzz::stage::{TRACKS, open, publish, shard, subscribe};
use antipode_fuzz::{panics, plain};
use libfuzzer_sys::fuzz_target;
use str0m::change::SdpAnswer;

/// The one that is talked to.
const SESSION: SessionId = SessionId(1);
/// Publishes what the other one subscribes to.
const OTHER: SessionId = SessionId(2);
/// Between two descriptions.
const SEPARATOR: char = '\u{1}';

thread_local! {
    static SHARD: RefCell<Shard> = RefCell::new(shard(plain::crypto()));
}

fuzz_target!(init: panics::install(), |data: &[u8]| {
    panics::run(data, &[], || {
        let Some((role, text)) = data.split_first() else { return };
        let Ok(text) = std::str::from_utf8(text) else { return };
        dress(text);
        SHARD.with_borrow_mut(|shard| negotiate(shard, *role, text));
    });
});

/// The lines that we change, without a session.
fn dress(text: &str) {
    let (mids, dressed) = antipode_core::fuzz::dress(text);
    let media = |text: &str| text.lines().filter(|line| line.starts_with("m=")).count();
    assert_eq!(media(text), mids.len());
    assert_eq!(media(&dressed), mids.len(), "a section came or went");
}

fn negotiate(shard: &mut Shard, role: u8, text: &str) {
    let mut now = Instant::now();
    let role = [Role::Both, Role::Publish, Role::Subscribe, Role::Play][usize::from(role % 4)];
    let mut script = vec![open(OTHER, Role::Publish), open(SESSION, role)];
    for (at, track) in TRACKS.into_iter().enumerate() {
        let owner = if at == 0 { SESSION } else { OTHER };
        script.push(publish(owner, track));
        script.push(subscribe(SESSION, track));
    }
    for command in script {
        shard.handle(Input::Command(command), now);
    }
    let mut alive = true;
    for (at, sdp) in text.split(SEPARATOR).take(4).enumerate() {
        let id = at as u32 + 1;
        let sdp = sdp.to_owned();
        now += Duration::from_millis(20);
        let command = match role {
            Role::Subscribe => Command::Answer { session: SESSION, id, sdp: sdp.clone() },
            _ => Command::Offer { session: SESSION, id, sdp: sdp.clone() },
        };
        shard.handle(Input::Command(command), now);
        shard.flush(now);
        let heard = notices(shard);
        if role != Role::Subscribe {
            let replies = check_replies(&heard, id, &sdp);
            assert_eq!(replies, usize::from(alive), "{heard:?}");
        }
        let ended = |n: &Notice| matches!(n, Notice::SessionEnded { session: SESSION, .. });
        alive &= !heard.iter().any(ended);
    }
    for session in [SESSION, OTHER] {
        let reason = CloseReason::Left;
        shard.handle(Input::Command(Command::CloseSession { session, reason }), now);
    }
    shard.flush(now);
    let ended = notices(shard);
    let fault = |n: &Notice| matches!(n, Notice::SessionEnded { reason: EndReason::Fault, .. });
    assert!(!ended.iter().any(fault), "a panic ended the session");
    let stats = shard.stats();
    let left = [stats.sessions, stats.rooms, stats.tracks, stats.subscriptions];
    assert_eq!(left, [0; 4], "sessions, rooms, tracks or subscriptions are left");
}

fn notices(shard: &mut Shard) -> Vec<Notice> {
    let outputs = std::iter::from_fn(|| shard.poll());
    outputs
        .filter_map(|output| match output {
            Output::Notice(notice) => Some(notice),
            Output::Transmit(_) | Output::Parcel(_) | Output::Address(..) => None,
        })
        .collect()
}

/// How many answers or refusals there are; and an answer fits its offer.
fn check_replies(heard: &[Notice], offered: u32, offer: &str) -> usize {
    let mut replies = 0;
    for notice in heard {
        match notice {
            Notice::Answer { id, sdp, .. } => {
                assert_eq!(*id, offered);
                replies += 1;
                let answer = SdpAnswer::from_sdp_string(sdp);
                answer.unwrap_or_else(|error| panic!("our answer is no SDP: {error}\n{sdp}"));
                let mids = |text: &str| -> Vec<String> {
                    let lines = text.lines().filter_map(|line| line.strip_prefix("a=mid:"));
                    lines.map(|mid| mid.trim().to_owned()).collect()
                };
                let (ours, theirs) = (mids(sdp), mids(offer));
                assert!(ours == theirs, "sections {ours:?} for {theirs:?} in {sdp}");
            }
            Notice::NegotiationFailed { id, reason, .. } => {
                assert_eq!(*id, offered);
                assert!(reason.len() <= SDP_MAX, "a refusal of {} bytes", reason.len());
                replies += 1;
            }
            _ => {}
        }
    }
    replies
}
