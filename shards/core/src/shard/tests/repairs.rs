//! What a client, a signaling process or another shard missed reaches it in the end.

use antipode_base::limits::CLAIM_INTERVAL;
use antipode_relay::parcel::{Note, Parcel};

use super::*;

#[test]
fn an_address_is_claimed_again_while_nothing_but_stun_comes_from_it() {
    let mut scene = Scene::of(3);
    scene.open(0);
    scene.publish(0, 1, Kind::Video, "cam");
    scene.offer(0, &[(MediaKind::Video, Direction::SendOnly, "cam")]);
    // The claim was lost: what is no STUN lands on another shard, which drops it.
    scene.clients[0].astray = true;
    let mut at = Vec::new();
    for _ in 0..1_000 {
        scene.pass(Duration::from_millis(10));
        for Addressed { to, parcel } in std::mem::take(&mut scene.parcels) {
            let Parcel::Note(Note::Claim { address }) = parcel else { panic!("{parcel:?}") };
            assert_eq!(address, scene.clients[0].address);
            at.push((to, scene.now));
        }
    }
    for shard in [ShardId(1), ShardId(2)] {
        let times: Vec<Instant> =
            at.iter().filter(|(to, _)| *to == shard).map(|(_, at)| *at).collect();
        assert!(times.len() > 2, "again and again: {times:?}");
        assert!(times[1..].windows(2).all(|two| two[1] - two[0] >= CLAIM_INTERVAL), "{times:?}");
    }

    scene.clients[0].astray = false;
    let patience = CLAIM_INTERVAL * 5;
    scene.pass(patience);
    assert!(scene.clients[0].connected);
    scene.parcels.clear();
    let mid = scene.mid(0);
    for seq in 0..100 {
        scene.send(0, mid, seq, DELTA);
        scene.pass(Duration::from_millis(100));
    }
    assert!(scene.parcels.is_empty(), "it arrives, so somebody knows the address");
}
