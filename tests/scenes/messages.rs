//! Data packets, with one and two peer connections, within a shard and across.

use antipode_base::command::Grants;
use antipode_base::verdict::DropReason;
use antipode_tests::acts::Way;
use antipode_tests::packet::DataPacket;
use antipode_tests::path::Faults;
use antipode_tests::signal::ALL_GRANTS;
use antipode_tests::source::Media;
use antipode_tests::world::{Setup, World};

use crate::{MS, S};

fn three_shards(_: u64) -> Setup {
    Setup { shards: 3, ..Setup::default() }
}

/// What a member got, as text, with the sender that stands on it.
fn read(world: &World, member: usize) -> Vec<(bool, String, String, String)> {
    let read = |delivery: &antipode_tests::peer::Delivery| {
        let packet = DataPacket::read(&delivery.bytes).unwrap();
        let text = String::from_utf8(packet.payload).unwrap();
        (delivery.reliable, packet.sender, packet.sender_sid, text)
    };
    world.messages(member).iter().map(read).collect()
}

fn packet(text: &str, to: &[&str]) -> Vec<u8> {
    DataPacket {
        payload: text.as_bytes().to_vec(),
        // A sender may write what it likes here: the server writes the truth.
        sender: "mallory".to_owned(),
        sender_sid: "PA_false".to_owned(),
        destinations: to.iter().map(|name| (*name).to_owned()).collect(),
    }
    .write()
}

scene!(MESSAGES, messages_reach_whom_they_are_for, 8, three_shards, messages);

/// `al` and `bo` have one peer connection, `cy` has two; all three on shards of their own, `di`
/// beside `al`.
fn messages(world: &mut World) {
    let al = world.join("al", 1, 0);
    let bo = world.join("bo", 1, 1);
    let cy = world.join_as("cy", 1, 2, Way::Two, ALL_GRANTS);
    let di = world.join("di", 1, 0);
    let stranger = world.join("bo", 2, 1);
    let all = [al, bo, cy, di, stranger];
    world.until("channels open", 4 * S, |w| {
        all.iter()
            .all(|m| [true, false].map(|p| w.peers[w.peer(*m, p)].has_channels()) == [true; 2])
    });
    assert!(world.send(al, true, &packet("to all", &[])));
    assert!(world.send(al, true, &packet("to bo", &["bo"])));
    assert!(world.send(al, true, &packet("to cy and di", &["cy", "di"])));
    assert!(world.send(cy, false, &packet("lossy", &[])));
    world.run(500 * MS);
    let from_al = |text: &str| (true, "al".to_owned(), "PA_0".to_owned(), text.to_owned());
    let lossy = (false, "cy".to_owned(), "PA_2".to_owned(), "lossy".to_owned());
    let sorted = |member: usize| {
        let mut texts = read(world, member);
        texts.sort();
        texts
    };
    assert_eq!(sorted(al), std::slice::from_ref(&lossy), "what one sends does not come back");
    assert_eq!(sorted(bo), [lossy.clone(), from_al("to all"), from_al("to bo")]);
    assert_eq!(sorted(cy), [from_al("to all"), from_al("to cy and di")]);
    assert_eq!(sorted(di), [lossy, from_al("to all"), from_al("to cy and di")]);
    assert!(read(world, stranger).is_empty(), "another room, though the name is right");
}

scene!(ORDER, reliable_messages_come_all_and_in_order, 6, lossy, order);

fn lossy(_: u64) -> Setup {
    let faults = Faults { loss: 50, reorder: 50, all: true, ..Faults::default() };
    Setup { up: faults, down: faults, ..Setup::default() }
}

fn order(world: &mut World) {
    let al = world.join("al", 1, 0);
    let bo = world.join("bo", 1, 1);
    // SCTP repeats a lost beginning after 3, 6, 12 and 24 s.
    world.until("channels open", 60 * S, |w| {
        [al, bo].iter().all(|m| w.peers[w.peer(*m, true)].has_channels())
    });
    let texts: Vec<String> = (0..40).map(|n| format!("{n} {}", "x".repeat(n * 50))).collect();
    for text in &texts {
        assert!(world.send(al, true, &packet(text, &[])));
        world.run(20 * MS);
    }
    world.until("all have come", 30 * S, |w| w.messages(bo).len() >= texts.len());
    let got: Vec<String> = read(world, bo).into_iter().map(|(_, _, _, text)| text).collect();
    assert_eq!(got, texts);
}

scene!(GRANTS, who_may_not_speak_is_not_heard, 4, three_shards, grants);

fn grants(world: &mut World) {
    let mute = Grants { publish: false, subscribe: true, publish_data: false };
    let al = world.join_as("al", 1, 0, Way::One, mute);
    let bo = world.join("bo", 1, 1);
    world.until("channels open", 4 * S, |w| {
        [al, bo].iter().all(|m| w.peers[w.peer(*m, true)].has_channels())
    });
    world.send(al, true, &packet("psst", &[]));
    world.publish(al, Media::video(1));
    world.send(bo, true, b"no packet at all");
    world.run(2 * S);
    assert!(read(world, bo).is_empty());
    assert_eq!(world.drops(DropReason::DataRefused), 2);
    assert_eq!(world.signal.refused.len(), 1, "{:?}", world.signal.refused);
    // What is granted later counts from then on.
    world.signal.permit(al, ALL_GRANTS);
    world.run(100 * MS);
    world.send(al, true, &packet("hello", &[]));
    world.until("it is heard", S, |w| w.messages(bo).len() == 1);
}

scene!(TWO_WAYS, two_peer_connections_make_one_member, 8, three_shards, two_ways);

/// Both with two peer connections: the server offers what they receive, again and again.
fn two_ways(world: &mut World) {
    let al = world.join_as("al", 1, 0, Way::Two, ALL_GRANTS);
    let bo = world.join_as("bo", 1, 1, Way::Two, ALL_GRANTS);
    world.until("both connect", 3 * S, |w| w.connected(al) && w.connected(bo));
    let first = world.publish(al, Media::video(3));
    world.publish(al, Media::audio(-20));
    world.publish(bo, Media::video(1));
    world.until("all flow", 4 * S, |w| w.signal.tracks.len() == 3 && w.all_flow(0));
    let before = world.slot(bo, first);
    world.unpublish(first);
    world.run(300 * MS);
    let second = world.publish(al, Media::video(1));
    world.until("the next one flows", 4 * S, |w| w.frames(bo, second, None, 0) > 5);
    assert_eq!(world.slot(bo, second), before, "the slot is used again");
    world.unsubscribe(bo, second);
    world.run(300 * MS);
    world.subscribe(bo, second);
    let since = world.now;
    world.until("and again", 4 * S, |w| w.frames(bo, second, None, since) > 5);
}
