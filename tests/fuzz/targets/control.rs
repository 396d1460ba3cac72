//! Frames between a node and signaling.
//!
//! What decodes must encode to the same bytes, or two readers could see two things in one frame; and
//! whatever commands a frame holds, in whatever order, a shard takes them.
#![no_main]

use std::time::{Duration, Instant};

use antipode_base::control::{self, FrameError, PREFIX, ToNode, ToSignal};
use antipode_base::limits::{CONTROL_FRAME_MAX, MEMO_MAX};
use antipode_core::Input;
use antipode_fuzz::{panics, plain, stage};
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;

fuzz_target!(init: panics::install(), |data: &[u8]| {
    panics::run(data, &[], || {
        stream::<ToSignal>(data);
        obey(stream::<ToNode>(data));
    });
});

/// All messages of a stream, up to where it breaks or ends.
fn stream<M: Serialize + DeserializeOwned>(mut bytes: &[u8]) -> Vec<M> {
    let mut messages = Vec::new();
    loop {
        match control::decode::<M>(bytes) {
            Ok(Some((message, length))) => {
                let (frame, rest) = bytes.split_at(length);
                let mut again = Vec::new();
                control::encode(&message, &mut again).expect("it was within the limit");
                assert_eq!(again, frame);
                messages.push(message);
                bytes = rest;
            }
            Ok(None) => {
                let length = bytes.first_chunk::<PREFIX>().map(|l| u32::from_le_bytes(*l));
                let missing = length.is_none_or(|length| length as usize + PREFIX > bytes.len());
                assert!(missing, "the whole frame is there");
                return messages;
            }
            Err(FrameError::TooLong(length)) => {
                assert!(length > CONTROL_FRAME_MAX);
                return messages;
            }
            Err(_) => return messages,
        }
    }
}

fn obey(messages: Vec<ToNode>) {
    let mut node = None;
    let mut now = Instant::now();
    for message in messages {
        match message {
            ToNode::Command { command, .. } => {
                let shard = node.get_or_insert_with(|| stage::shard(plain::crypto()));
                shard.handle(Input::Command(command), now);
                now += Duration::from_millis(20);
                shard.flush(now);
                while shard.poll().is_some() {}
            }
            ToNode::Memo(memo) => {
                assert_eq!(control::check_memo(&memo).is_ok(), memo.bytes.len() <= MEMO_MAX);
            }
            ToNode::Challenge { .. } => {}
        }
    }
}
