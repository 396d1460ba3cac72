//! Golden bytes of what the SDKs read.

use super::*;

fn bytes(message: ToClient) -> Vec<u8> {
    let encoder = Encoder::new(vec![], &IceConfig::default());
    encoder.encode(message, 0).expect("there is something to say").to_vec()
}

#[test]
fn which_layers_are_wanted() {
    let qualities = [true, true, false];
    let got = bytes(ToClient::LayersWanted { track: "TR_V".into(), codec: "vp8", qualities });
    let want: &[u8] = &[
        0x72, 41, // SignalResponse.subscribed_quality_update = 14
        0x0a, 4, b'T', b'R', b'_', b'V', // track_sid = 1
        0x12, 2, 0x10, 1, // subscribed_qualities = 2: enabled = 2; LOW is the default
        0x12, 4, 0x08, 1, 0x10, 1, // MEDIUM, enabled
        0x12, 2, 0x08, 2, // HIGH, not enabled
        0x1a, 19, // subscribed_codecs = 3
        0x0a, 3, b'v', b'p', b'8', // codec = 1
        0x12, 2, 0x10, 1, // qualities = 2, as above
        0x12, 4, 0x08, 1, 0x10, 1, //
        0x12, 2, 0x08, 2,
    ];
    assert_eq!(got, want);
}

#[test]
fn what_stands_still() {
    let delivery = |paused| {
        let (publisher, track) = ("PA_1".to_owned(), "TR_V".to_owned());
        bytes(ToClient::Delivery { publisher, track, paused })
    };
    let head = |state: &[u8]| {
        let ids = *b"\x0a\x04PA_1\x12\x04TR_V";
        let length = (ids.len() + state.len()) as u8;
        // SignalResponse.stream_state_update = 13, stream_states = 1
        [&[0x6a, length + 2, 0x0a, length][..], &ids, state].concat()
    };
    assert_eq!(delivery(true), head(&[0x18, 1]), "state = 3: PAUSED");
    assert_eq!(delivery(false), head(&[]), "ACTIVE is the default");
}
