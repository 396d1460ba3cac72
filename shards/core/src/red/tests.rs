//! Golden bytes, damage, and losses mended.

use super::*;

/// As Chromium sends `red/48000/2` with `111/111`: the packet of 20 ms ago, then its own.
const GOLDEN: [u8; 12] = [0xef, 0x0f, 0x00, 0x03, 0x6f, 0xfc, 0xaa, 0xab, 0xfc, 0xba, 0xbb, 0xbc];
/// Two redundant blocks, 1920 and 960 ticks back; the first is empty.
const GOLDEN_TWO: [u8; 13] =
    [0xef, 0x1e, 0x00, 0x00, 0xef, 0x0f, 0x00, 0x02, 0x6f, 0x01, 0x02, 0x03, 0x04];

fn rows(payload: &[u8], timestamp: u32) -> Vec<(u8, u32, Vec<u8>)> {
    let blocks = split(payload, timestamp).unwrap();
    let all = blocks.redundant().chain([blocks.primary()]);
    all.map(|b| (b.payload_type, b.timestamp, b.payload.to_vec())).collect()
}

#[test]
fn golden_bytes() {
    assert_eq!(
        rows(&GOLDEN, 1_000),
        [(111, 40, vec![0xfc, 0xaa, 0xab]), (111, 1_000, vec![0xfc, 0xba, 0xbb, 0xbc])]
    );
    assert_eq!(split(&GOLDEN, 0).unwrap().primary().payload, &GOLDEN[8..]);
    assert_eq!(
        rows(&GOLDEN_TWO, 0),
        [(111, 0u32.wrapping_sub(960), vec![1, 2]), (111, 0, vec![3, 4])]
    );
    assert_eq!(rows(&[0x6f, 9], 5), [(111, 5, vec![9])], "as the first one of a stream");
    let far = [0xff, 0xff, 0xfc, 0x01, 0x7f, 1, 2];
    assert_eq!(rows(&far, 20_000)[0], (127, 20_000 - 16_383, vec![1]), "the largest offset");
}

#[test]
fn malformed_is_named() {
    let many = |redundant: usize| {
        let mut payload = [0xef, 0, 4, 0].repeat(redundant);
        payload.extend([0x6f, 1]);
        payload
    };
    assert_eq!(split(&many(RED_BLOCKS_MAX - 1), 0).map(|blocks| blocks.len), Ok(RED_BLOCKS_MAX));
    for (payload, want) in [
        (&[][..], Malformed::HeadersCut),
        (&[0xef, 0x0f, 0x00], Malformed::HeadersCut),
        (&[0xef, 0x0f, 0x00, 0x00], Malformed::HeadersCut),
        (&[0xef, 0x0f, 0x00, 0x02, 0x6f, 1], Malformed::BlocksCut),
        (&[0xef, 0x0f, 0x00, 0x02, 0x6f, 1, 2], Malformed::NoPrimary),
        (&[0x6f], Malformed::NoPrimary),
        (&many(RED_BLOCKS_MAX), Malformed::TooManyBlocks),
        (&[0xff; 1_400], Malformed::TooManyBlocks),
    ] {
        assert_eq!(split(payload, 0), Err(want), "{payload:x?}");
    }
}

#[test]
fn damage_is_survived() {
    for golden in [&GOLDEN[..], &GOLDEN_TWO] {
        let primary = split(golden, 0).unwrap().primary().payload.len();
        for cut in 0..golden.len() {
            // Up to the primary block nothing stands; within it, all before it does.
            let whole = split(&golden[..cut], 0).is_ok();
            assert_eq!(whole, cut > golden.len() - primary, "{cut}");
        }
        for bit in 0..golden.len() * 8 {
            let mut payload = golden.to_vec();
            payload[bit / 8] ^= 1 << (bit % 8);
            let mut received = Received::default();
            received.note(7, 0);
            received.note(10, 960);
            if let Ok(blocks) = split(&payload, 960) {
                let bytes: usize = blocks.redundant().map(|block| block.payload.len()).sum();
                let bytes = bytes + blocks.primary().payload.len();
                assert!(bytes < payload.len());
                assert!(received.recover(10, &blocks).all(|r| (8..10).contains(&r.ext_seq)));
            }
        }
    }
}

fn encode(encoder: &mut Encoder, timestamp: u32, payload: &[u8], distance: usize) -> Vec<u8> {
    let mut out = vec![0xee; 3];
    encoder.encode(111, timestamp, payload, distance, &mut out);
    out
}

#[test]
fn what_is_made_can_be_taken_apart() {
    let mut encoder = Encoder::default();
    assert_eq!(encode(&mut encoder, 40, &[0xfc, 0xaa, 0xab], 1), [0x6f, 0xfc, 0xaa, 0xab]);
    assert_eq!(encode(&mut encoder, 1_000, &GOLDEN[8..], 1), GOLDEN);
    let three = encode(&mut encoder, 1_960, &[1, 2, 3], 2);
    let (first, second) = (GOLDEN[5..8].to_vec(), GOLDEN[8..].to_vec());
    assert_eq!(
        rows(&three, 1_960),
        [(111, 40, first), (111, 1_000, second.clone()), (111, 1_960, vec![1, 2, 3])]
    );
    assert_eq!(encode(&mut encoder, 2_920, &[4, 5, 6], 0), [0x6f, 4, 5, 6]);
    // What went without redundancy is there for the next; distances above two are two.
    assert_eq!(
        rows(&encode(&mut encoder, 3_880, &[7, 8, 9], 9), 3_880),
        [(111, 1_960, vec![1, 2, 3]), (111, 2_920, vec![4, 5, 6]), (111, 3_880, vec![7, 8, 9])]
    );
    let jumped = u32::MAX - 50_000;
    let alone = encode(&mut encoder, jumped, &second, 2);
    assert_eq!(rows(&alone, jumped).len(), 1, "a clock that jumped back is another beginning");
    let next = encode(&mut encoder, jumped + 960, &[1, 1, 1], 2);
    assert_eq!(rows(&next, jumped + 960)[0], (111, jumped, second));
}

#[test]
fn what_cannot_be_carried_is_left_out() {
    // What came before, when, and what of it the packet at 10 s carries with distance 2.
    let now = 480_000;
    let rows_of = |earlier: &[(u32, usize)], payload: usize| -> Vec<usize> {
        let mut encoder = Encoder::default();
        for (back, length) in earlier {
            encode(&mut encoder, now - back, &vec![1; *length], 2);
        }
        let out = encode(&mut encoder, now, &vec![2; payload], 2);
        assert!(out.len() <= RED_PAYLOAD_MAX.max(1 + payload));
        let capacity: usize = encoder.earlier.iter().flatten().map(|e| e.bytes.capacity()).sum();
        assert!(capacity <= DISTANCE_MAX * BLOCK_MAX, "no buffer grows");
        let blocks = split(&out, now).unwrap();
        assert_eq!(blocks.primary().payload.len(), payload);
        blocks.redundant().map(|block| block.payload.len()).collect()
    };
    for (earlier, payload, want) in [
        (&[(1_920, 80), (960, 90)][..], 100, &[80, 90][..]),
        (&[(2_880, 70), (1_920, 80), (960, 90)], 100, &[80, 90]),
        (&[(1_920, 80), (960, 1)], 100, &[80]),     // silence
        (&[(1_920, 80), (960, 90)], 1, &[80, 90]),  // before silence
        (&[(1_920, 80), (960, 1_024)], 100, &[80]), // ten bits
        (&[(960, 1_023)], 100, &[1_023]),
        (&[(1_920, 80), (960, 1_023)], 150, &[1_023]), // the older one does not fit
        (&[(1_920, 80), (960, 1_023)], 180, &[80]),    // the newer one does not
        (&[(1_920, 80), (960, 90)], 1_199, &[]),
        (&[(1_920, 80), (960, 90)], 1_400, &[]),
        (&[(17_000, 80), (16_384, 90)], 100, &[]), // fourteen bits
        (&[(17_000, 80), (16_383, 90)], 100, &[90]),
        (&[(960, 80), (1_920, 90)], 100, &[80]), // one came late
        (&[(960, 80), (960, 80)], 100, &[80]),   // or twice
        (&[(0, 80)], 100, &[]),
    ] {
        assert_eq!(rows_of(earlier, payload), want, "{earlier:?} {payload}");
    }
}

/// A stream of `packets` (timestamp, length), each as RED of distance 2, with those in `lost` never
/// come: what is rebuilt, as (number, timestamp, length).
fn mended(packets: &[(u32, usize)], order: &[usize]) -> Vec<(u64, u32, usize)> {
    let mut encoder = Encoder::default();
    let sent: Vec<_> = packets
        .iter()
        .map(|(time, length)| encode(&mut encoder, *time, &vec![3; *length], 2))
        .collect();
    let mut received = Received::default();
    let mut mended = Vec::new();
    for at in order {
        let (ext_seq, timestamp) = (65_530 + *at as u64, packets[*at].0);
        received.note(ext_seq, timestamp);
        let blocks = split(&sent[*at], timestamp).unwrap();
        let rebuilt = received.recover(ext_seq, &blocks);
        mended.extend(rebuilt.map(|r| (r.ext_seq, r.block.timestamp, r.block.payload.len())));
    }
    mended
}

#[test]
fn losses_are_mended() {
    let even: Vec<(u32, usize)> =
        (0..8).map(|i| ((960 * i as u32).wrapping_sub(2_000), 50 + i)).collect();
    let is = |at: usize| (65_530 + at as u64, even[at].0, even[at].1);
    for (order, want) in [
        (&[0, 1, 2, 3][..], &[][..]),
        (&[0, 1, 3, 4, 5], &[is(2)]),
        (&[0, 1, 4, 5], &[is(2), is(3)]),
        (&[0, 1, 5, 6], &[is(3), is(4)]), // of three, the first is gone
        (&[0, 2, 4, 6], &[is(1), is(3), is(5)]),
        (&[0, 2, 1, 3], &[is(1)]), // late: it was rebuilt and counts once
        (&[0, 4, 3, 2], &[is(2), is(3), is(1)]),
        (&[0, 3, 3], &[is(1), is(2)]), // twice
        (&[3, 4], &[]),                // nobody missed what was before the first
    ] {
        assert_eq!(mended(&even, order), want, "{order:?}");
    }
}

#[test]
fn what_nobody_can_tell_is_not_rebuilt() {
    // Silence, of which packets 2 and 4 are one each, is sent every 400 ms and carried by nobody.
    let times = [0, 960, 1_920, 21_120, 22_080, 23_040, 24_000];
    let lengths = [50, 51, 1, 53, 1, 55, 56];
    let packets: Vec<(u32, usize)> = times.into_iter().zip(lengths).collect();
    // One of two missing ones is there, and an even pace says which.
    assert_eq!(mended(&packets, &[0, 3]), [], "too far back for fourteen bits");
    assert_eq!(mended(&packets, &[2, 3, 5]), [], "the missing one is silence");
    assert_eq!(mended(&packets, &[2, 3, 6]), [(65_535, 23_040, 55)]);
    // Uneven in time: 960 or 1440 ticks apart, and one block for two missing numbers.
    let uneven = [(0, 50), (960, 1), (2_400, 52), (3_360, 53)];
    assert_eq!(mended(&uneven, &[0, 3]), []);
    let mut received = Received::default();
    assert!(received.note(1, 0) && received.note(3, 1_000));
    // A block of another codec.
    let other = [0xe0, 0x0f, 0x00, 0x01, 0x6f, 1, 2];
    assert_eq!(received.recover(3, &split(&other, 1_000).unwrap()).count(), 0);
    assert_eq!(received.recover(3, &split(&GOLDEN, 1_000).unwrap()).count(), 1);
}

#[test]
fn what_came_is_remembered_within_bounds() {
    let mut received = Received::default();
    for ext_seq in (0..100).filter(|seq| seq % 7 != 0) {
        assert!(received.note(ext_seq, ext_seq as u32 * 960));
        assert!(!received.note(ext_seq, 0));
        assert!(received.seen[..received.len].is_sorted_by(|a, b| a.ext_seq < b.ext_seq));
    }
    assert_eq!(received.len, REMEMBERED);
    assert!(received.note(98, 98 * 960) && !received.note(98, 0), "late, and then twice");
    assert!(received.note(3, 0), "too old to know");
    assert_eq!(received.len, REMEMBERED);
}
