//! Dependency descriptors by hand.

use super::structure::Target;
use super::*;

/// Spaces aside, a string of bits; zeros fill the last byte.
fn bits(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|digit| *digit != b' ').map(|d| d - b'0').collect();
    let byte = |digits: &[u8]| {
        (0..8).fold(0, |byte, at| byte << 1 | digits.get(at).copied().unwrap_or_default())
    };
    digits.chunks(8).map(byte).collect()
}

fn dtis(text: &str) -> Dtis {
    let packed = text.bytes().rev().fold(0, |packed, letter| {
        let dti = "-DSR".bytes().position(|known| known == letter).unwrap();
        packed << 2 | dti as u64
    });
    Dtis(packed)
}

fn list<T: Copy + Default, const N: usize>(values: &[T]) -> List<T, N> {
    let mut list = List::default();
    values.iter().for_each(|value| list.push(*value).unwrap());
    list
}

/// The first packet of a keyframe, one spatial and three temporal layers, as senders of L1T3 have it.
pub(crate) fn l1t3() -> Vec<u8> {
    bits(concat!(
        "1 0 111110 0000000100000010 ", // first packet, template 62, frame 258
        "1 0 0 0 0 ",                   // a structure
        "111110 00010 ",                // templates from 62 on, three decode targets
        "00 01 01 00 11 ",              // templates: T0, T0, T1, T2, T2
        "10 10 10  10 10 10  00 01 10  00 00 01  00 00 01 ", // SSS SSS -DS --D --D
        "0  1 0011 0  1 0001 0  1 0000 0  1 0000 0 ", // diffs: none, 4, 2, 1, 1
        "01 ",                          // one chain; that it protects each target takes no bits
        "0000 0100 0010 0001 0011 ",    // its diffs: 0, 4, 2, 1, 3
        "1 0000010011111111 0000001011001111", // 1280 × 720
    ))
}

/// Two decode targets, two chains; spatial layer 1 needs layer 0 in the keyframe alone.
fn l2t1_key() -> Vec<u8> {
    bits(concat!(
        "1 1 000101 1111111111111111 ",
        "1 0 0 0 0 ",
        "000101 00001 ",                    // templates from 5 on, two decode targets
        "00 10 00 11 ",                     // S0, S0, S1, S1
        "10 10  10 00  00 10  00 10 ",      // keyframe SS, S-; -S, -S
        "0  1 0001 0  1 0001 0  1 0000 0 ", // none; 2; 2; 1: on layer 0 of the keyframe
        "11 ",                              // two chains: the uneven number of three, one bit more
        "0 1 ",                             // target 0 by chain 0, 1 by 1
        "0000 0000  0010 0001  0001 0010  0001 0001 ",
        "0", // no resolutions
    ))
}

fn structure(bytes: &[u8]) -> Arc<Structure> {
    parse(bytes, None).unwrap().attached.unwrap()
}

/// Every field of [`rewrite`]'s result but the frame number and the mask is what it was.
pub(super) fn check_rewrite(bytes: &[u8], known: &Structure) {
    let before = parse(bytes, Some(known)).unwrap();
    let structure = before.attached.as_deref().unwrap_or(known);
    let every = structure.every_target();
    for mask in [None, Some(0), Some(1), Some(every), Some(u32::MAX)] {
        for frame_number in [before.frame_number, 0, 1, 0xffff] {
            let mut out = [0xff; DESCRIPTOR_MAX];
            let written = rewrite(bytes, structure, frame_number, mask, &mut out).unwrap();
            let active_targets = mask.map(|mask| mask & every).or(before.active_targets);
            let want = Descriptor { frame_number, active_targets, ..before.clone() };
            assert_eq!(parse(written, Some(known)), Ok(want), "{bytes:x?} {mask:?}");
            if mask.is_none() {
                assert_eq!((written.len(), written[0]), (bytes.len(), bytes[0]));
                assert_eq!(written[MANDATORY..], bytes[MANDATORY..]);
            }
        }
    }
}

#[test]
fn a_keyframe_of_three_temporal_layers() {
    let bytes = l1t3();
    let read = parse(&bytes, None).unwrap();
    let structure = read.attached.clone().unwrap();
    let resolution = Some(Resolution { width: 1_280, height: 720 });
    let want = Descriptor {
        starts_frame: true,
        ends_frame: false,
        frame_number: 258,
        spatial: 0,
        temporal: 0,
        dtis: dtis("SSS"),
        diffs: list(&[]),
        chains: list(&[0]),
        attached: Some(structure.clone()),
        active_targets: Some(0b111),
        resolution,
    };
    assert_eq!(read, want);
    assert_eq!((structure.target_count(), structure.chain_count()), (3, 1));
    for target in 0..3 {
        let temporal = target as u8;
        assert_eq!(structure.target(target), Some(Target { spatial: 0, temporal }));
        assert_eq!(structure.chain_of(target), Some(0));
    }
    assert_eq!((structure.target(3), structure.chain_of(3)), (None, None));
    check_rewrite(&bytes, &structure);
}

#[test]
fn three_bytes_name_a_template() {
    let structure = structure(&l1t3());
    // Ids 62, 63, 0, 1, 2 are those of the five templates, since they wrap.
    for (bytes, temporal, indications, diff, chain) in [
        ([0b1111_1111, 0x01, 0x06], 0, "SSS", 4, 4),
        ([0b1000_0000, 0x01, 0x04], 1, "-DS", 2, 2),
        ([0b0100_0001, 0x01, 0x03], 2, "--D", 1, 1),
        ([0b0000_0010, 0x01, 0x05], 2, "--D", 1, 3),
    ] {
        let want = Descriptor {
            starts_frame: bytes[0] & 0x80 != 0,
            ends_frame: bytes[0] & 0x40 != 0,
            frame_number: u16::from(bytes[1]) << 8 | u16::from(bytes[2]),
            spatial: 0,
            temporal,
            dtis: dtis(indications),
            diffs: list(&[diff]),
            chains: list(&[chain]),
            attached: None,
            active_targets: None,
            resolution: Some(Resolution { width: 1_280, height: 720 }),
        };
        assert_eq!(parse(&bytes, Some(&structure)), Ok(want));
        assert_eq!(parse(&bytes, None), Err(Unread::UnknownTemplate));
        check_rewrite(&bytes, &structure);
        // A mask of three targets: 32 bits in all.
        let mut out = [0xff; DESCRIPTOR_MAX];
        let masked = rewrite(&bytes, &structure, 0x1234, Some(0b011), &mut out).unwrap();
        assert_eq!(masked, [bytes[0], 0x12, 0x34, 0b0100_0011]);
    }
    for id in 3..62 {
        let bytes = [id, 0, 0];
        assert_eq!(parse(&bytes, Some(&structure)), Err(Unread::UnknownTemplate));
        let mut out = [0; DESCRIPTOR_MAX];
        for mask in [None, Some(1)] {
            let written = rewrite(&bytes, &structure, 0, mask, &mut out);
            assert_eq!(written, Err(Unread::UnknownTemplate));
        }
    }
}

#[test]
fn a_frame_may_differ_from_its_template() {
    let known = structure(&l1t3());
    let bytes = bits(concat!(
        "0 1 000010 0000000000000101 ", // last packet, template 2: T2, frame 5
        "0 1 1 1 1 ",                   // mask, indications, diffs, chains
        "101 ",                         // targets 0 and 2
        "11 00 10 ",                    // R-S
        "01 1111  11 111111111111  10 00000000  00 ", // 16, 4096 and 1 frames back
        "11111111",                     // 255 back
    ));
    let read = parse(&bytes, Some(&known)).unwrap();
    assert_eq!((read.temporal, read.dtis), (2, dtis("R-S")));
    assert_eq!((&*read.diffs, &*read.chains), (&[16, 4_096, 1][..], &[255][..]));
    assert_eq!(read.active_targets, Some(0b101));
    assert!(read.switches_to(2) && !read.switches_to(0) && !read.is_in(1) && read.is_in(0));
    assert_eq!(read.before_in_chain(0), Some(5_u16.wrapping_sub(255)));
    assert_eq!(read.before_in_chain(1), None);
    check_rewrite(&bytes, &known);
    for cut in 4..bytes.len() {
        assert_eq!(parse(&bytes[..cut], Some(&known)), Err(Unread::Malformed), "{cut}");
    }
}

#[test]
fn targets_of_spatial_layers() {
    let bytes = l2t1_key();
    let key = parse(&bytes, None).unwrap();
    let known = key.attached.clone().unwrap();
    assert_eq!(known.target_for(7, 7, known.every_target()), Some(1));
    assert_eq!(known.target_for(0, 7, known.every_target()), Some(0));
    assert_eq!(known.target_for(7, 7, 0b01), Some(0), "the sender stopped the upper one");
    assert_eq!(known.target_for(0, 7, 0b10), None);
    assert_eq!((known.chain_of(0), known.chain_of(1)), (Some(0), Some(1)));
    assert_eq!((known.resolution(0), key.resolution), (None, None));
    assert!(key.switches_to(0) && key.switches_to(1));
    assert_eq!((key.before_in_chain(0), key.before_in_chain(1)), (None, None));
    // The upper layer of the keyframe: one frame after it, which wraps.
    let upper = parse(&[0b1100_1000, 0, 0], Some(&known)).unwrap();
    assert_eq!((upper.spatial, &*upper.diffs), (1, &[1][..]));
    assert!(!upper.is_in(0) && upper.switches_to(1));
    assert_eq!(upper.before_in_chain(1), Some(0xffff));
    check_rewrite(&bytes, &known);

    let temporal = structure(&l1t3());
    for (most, target) in [(0, 0), (1, 1), (2, 2), (7, 2)] {
        assert_eq!(temporal.target_for(0, most, temporal.every_target()), Some(target));
    }
    assert_eq!(temporal, structure(&l1t3()));
    assert_ne!(temporal, known);
}

/// Hexadecimal digits; spaces do not count.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split(' ').collect();
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

/// AV1 L3T3 of Chromium 156: 15 templates, nine targets, three chains, and a mask of the lower six
/// targets, since the encoder began with two spatial layers.
pub(crate) const CHROMIUM_L3T3: &str = "810001 c0081485214eafffaaaa863cf0430c10c302afc0aaa0063c00430010c0\
    02a000a80006000040001d954926e082b04a0941b820ac1282503157f974000ca864330e222222eca8655304224230\
    eca87753013f00b3027f016704ff02cf1f80";

#[test]
fn a_keyframe_of_chromium_with_nine_targets() {
    let bytes = hex(CHROMIUM_L3T3);
    let key = parse(&bytes, None).unwrap();
    let known = key.attached.clone().unwrap();
    assert!(key.starts_frame && !key.ends_frame && key.diffs.is_empty());
    assert_eq!((key.frame_number, key.spatial, key.temporal), (1, 0, 0));
    assert_eq!((key.dtis, &*key.chains), (dtis("SSSSSSSSS"), &[0, 0, 0][..]));
    assert_eq!(key.active_targets, Some(0b000_111_111));
    assert_eq!((known.target_count(), known.chain_count()), (9, 3));
    for target in 0..9 {
        let (spatial, temporal) = (target as u8 / 3, target as u8 % 3);
        assert_eq!(known.target(target), Some(Target { spatial, temporal }));
        assert_eq!(known.chain_of(target), Some(target / 3));
        assert_eq!(known.target_for(spatial, temporal, known.every_target()), Some(target));
    }
    assert_eq!(known.target_for(7, 7, 0b000_111_111), Some(5));
    assert_eq!(known.targets_within(7, 7), known.every_target());
    assert_eq!(known.targets_within(1, 0), 0b000_001_001);
    assert!(
        tells_targets(&bytes) && !tells_targets(&bytes[..3]) && tells_targets(&[0, 0, 0, 0x40])
    );
    for (spatial, width, height) in [(0, 320, 180), (1, 640, 360), (2, 1_280, 720)] {
        assert_eq!(known.resolution(spatial), Some(Resolution { width, height }));
    }
    assert!(known.template(14).is_some() && known.template(15).is_none());
    check_rewrite(&bytes, &known);
    let mut out = [0; DESCRIPTOR_MAX];
    let same = rewrite(&bytes, &known, 1, key.active_targets, &mut out);
    assert_eq!(same, Ok(&bytes[..]), "the one encoding of the same meaning");
}

#[test]
fn frames_of_chromium_between_keyframes() {
    let known = structure(&hex(CHROMIUM_L3T3));
    // Temporal layer 1, spatial layer 0, whose last frames are not where the template has them.
    let bytes = hex("c20005 1a60201800");
    let read = parse(&bytes, Some(&known)).unwrap();
    assert_eq!((read.frame_number, read.spatial, read.temporal), (5, 0, 1));
    assert_eq!((&*read.diffs, &*read.chains), (&[4][..], &[4, 3, 0][..]));
    assert_eq!((read.dtis, read.active_targets), (dtis("-DS-RR-RR"), None));
    check_rewrite(&bytes, &known);
    // The third spatial layer begins: all nine targets, with a frame of the second.
    let bytes = hex("c80008 5ffd1400706060");
    let read = parse(&bytes, Some(&known)).unwrap();
    assert_eq!((read.frame_number, read.spatial, read.temporal), (8, 1, 2));
    assert_eq!((&*read.diffs, &*read.chains), (&[2, 1][..], &[7, 6, 6][..]));
    assert_eq!((read.dtis, read.active_targets), (dtis("-----D--R"), Some(0b111_111_111)));
    assert!(read.is_in(5) && read.is_in(8) && !read.is_in(4) && !read.switches_to(8));
    check_rewrite(&bytes, &known);
}

#[test]
fn absurd_structures_are_malformed() {
    let head = "10000000 00000000 00000000 10000 ";
    // One decode target; then the templates' layers; indications and diffs are zeros.
    let of = |layers: &str, rest: &str| bits(&format!("{head} 000000 00000 {layers} 11 {rest}"));
    let malformed = |bytes: &[u8]| parse(bytes, None) == Err(Unread::Malformed);
    let zeros = "0".repeat(400);
    assert!(!malformed(&of(&"00".repeat(63), &zeros)), "64 templates");
    assert!(malformed(&of(&"00".repeat(64), &zeros)), "65 templates");
    assert!(!malformed(&of(&"10".repeat(7), &zeros)), "8 spatial layers");
    assert!(malformed(&of(&"10".repeat(8), &zeros)), "9 spatial layers");
    assert!(!malformed(&of(&"01".repeat(7), &zeros)), "8 temporal layers");
    assert!(malformed(&of(&"01".repeat(8), &zeros)), "9 temporal layers");
    let diffs = |count| of("", &format!("10 {} 0 {zeros}", "1 0000".repeat(count)));
    assert!(!malformed(&diffs(FRAME_DIFFS_MAX)));
    assert!(malformed(&diffs(FRAME_DIFFS_MAX + 1)));
    assert!(malformed(&[vec![0x80, 0, 0, 0x80], vec![0; 252]].concat()), "256 bytes");
    // An id that its own structure does not have.
    assert!(malformed(&bits(&format!("10000001 00000000 00000000 10000 000000 00000 11 {zeros}"))));
    for length in 0..3 {
        assert!(malformed(&[0x80, 0, 0][..length]), "{length}");
    }
    // Diffs of a frame.
    let known = structure(&l1t3());
    let mut out = [0; DESCRIPTOR_MAX];
    for (count, want) in [(FRAME_DIFFS_MAX, Ok(())), (FRAME_DIFFS_MAX + 1, Err(Unread::Malformed))]
    {
        let diffs = "01 0001".repeat(count);
        let bytes = bits(&format!("00000010 00000000 00000000 00010 {diffs} 00"));
        assert_eq!(parse(&bytes, Some(&known)).map(drop), want);
        assert_eq!(rewrite(&bytes, &known, 0, Some(1), &mut out).map(drop), want);
    }
}

#[test]
fn a_mask_that_does_not_fit_is_refused() {
    // 29 templates of 32 targets, the last with ten diffs: 2039 of 2040 bits.
    let text = format!(
        "10000000 00000000 00000000 10000 000000 11111 {} 11 {} {} {} 0 00000 0",
        "00".repeat(28),
        "10".repeat(29 * 32),
        "0".repeat(28),
        "1 0000".repeat(10),
    );
    let bytes = bits(&text);
    assert_eq!(bytes.len(), DESCRIPTOR_MAX);
    let known = structure(&bytes);
    let mut out = [0; DESCRIPTOR_MAX];
    let length = |mask, out: &mut _| rewrite(&bytes, &known, 7, mask, out).map(<[u8]>::len);
    assert_eq!(length(None, &mut out), Ok(DESCRIPTOR_MAX));
    assert_eq!(length(Some(1), &mut out), Err(Unread::Malformed));
}

#[test]
fn another_structure_than_the_attached_one_is_noticed() {
    // One template, whose id is 0, in front of other offsets or numbers of targets.
    let of = |offset: &str, targets: &str, count| {
        let dtis = "10".repeat(count);
        bits(&format!("10000000 00000000 00000000 10000 {offset} {targets} 11 {dtis} 0 000000 0"))
    };
    let mut out = [0; DESCRIPTOR_MAX];
    // With room for a longer structure.
    let bytes = [of("000000", "00010", 3), vec![0; 40]].concat();
    let known = structure(&bytes);
    assert!(rewrite(&bytes, &known, 7, Some(1), &mut out).is_ok());
    let fewer = structure(&of("000000", "00001", 2));
    assert_eq!(rewrite(&bytes, &fewer, 7, Some(1), &mut out), Err(Unread::Malformed));
    // Here id 0 is the third template, since ids wrap.
    let wraps = structure(&l1t3());
    assert_eq!(wraps.target_count(), known.target_count());
    assert_eq!(rewrite(&bytes, &wraps, 7, Some(1), &mut out), Err(Unread::Malformed));
}

#[test]
fn cut_or_flipped_descriptors_harm_nobody() {
    let (l1t3, l2t1) = (l1t3(), l2t1_key());
    let known = structure(&l1t3);
    let check = |bytes: &[u8]| {
        let mut out = [0; DESCRIPTOR_MAX];
        let _ = rewrite(bytes, &known, 9, None, &mut out);
        let _ = rewrite(bytes, &known, 9, Some(0b101), &mut out);
        if parse(bytes, Some(&known)).is_ok() {
            check_rewrite(bytes, &known);
        }
    };
    for golden in [&l1t3, &l2t1, &hex(CHROMIUM_L3T3)] {
        for cut in 0..golden.len() {
            let read = parse(&golden[..cut], None);
            let want = if cut == 3 { Unread::UnknownTemplate } else { Unread::Malformed };
            assert_eq!(read, Err(want), "{cut}");
            check(&golden[..cut]);
        }
        for bit in 0..golden.len() * 8 {
            let mut flipped = golden.clone();
            flipped[bit / 8] ^= 0x80 >> (bit % 8);
            check(&flipped);
            for cut in 3..golden.len() {
                check(&flipped[..cut]);
            }
        }
    }
}

#[test]
fn a_frame_can_be_tied_to_the_one_before_it() {
    let known = structure(&hex(CHROMIUM_L3T3));
    for (bytes, tied) in [
        // Temporal layer 1 with diffs of its own.
        ("c20005 1a60201800", true),
        // It needs the frame before it already.
        ("c80008 5ffd1400706060", false),
        // All from the templates: of the lowest and of the highest spatial layer.
        ("c20005", true),
        ("cb0006", false),
        // The highest one needs what is three frames before it alone.
        ("ca0006 1240", true),
        (CHROMIUM_L3T3, false),
    ] {
        let bytes = hex(bytes);
        let mut out = [0; DESCRIPTOR_MAX];
        let written = tie(&bytes, &known, &mut out);
        assert_eq!(written.is_some(), tied, "{bytes:x?}");
        let Some(written) = written else { continue };
        let mut want = parse(&bytes, Some(&known)).unwrap();
        want.diffs.push(1).unwrap();
        assert_eq!(parse(written, Some(&known)).unwrap(), want);
        assert_eq!(tie(written, &known, &mut [0; DESCRIPTOR_MAX]), None, "once");
    }
    for cut in 0..8 {
        tie(&hex("c20005 1a60201800")[..cut], &known, &mut [0; DESCRIPTOR_MAX]);
    }
}
