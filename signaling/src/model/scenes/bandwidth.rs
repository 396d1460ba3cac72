//! Who needs which layers, and who goes without.

use super::*;
use antipode_base::command::{Priority, Tune};

use super::super::message::Retouch;
use super::super::track::{Viewing, Wish};

fn demand(guest: &Guest, track: TrackId, layer_max: Option<Layer>) -> Notice {
    Notice::Demand { session: guest.publish, track, layer_max }
}

fn delivery(guest: &Guest, track: TrackId, paused: bool) -> Notice {
    Notice::Delivery { session: guest.subscribe, track, paused }
}

fn layers(scene: &mut Scene, guest: &Guest) -> Vec<[bool; 3]> {
    let told = scene.take_told(guest).into_iter();
    told.filter_map(|message| match message {
        ToClient::LayersWanted { qualities, .. } => Some(qualities),
        _ => None,
    })
    .collect()
}

fn deliveries(scene: &mut Scene, guest: &Guest) -> Vec<ToClient> {
    let mut told = scene.take_told(guest);
    told.retain(|message| matches!(message, ToClient::Delivery { .. }));
    told
}

#[test]
fn a_publisher_is_told_what_its_viewers_need() {
    let mut scene = Scene::new();
    let alice = scene.join("lobby", "alice");
    let (track, sid) = scene.publish(&alice, camera());
    scene.take_told(&alice);
    scene.notice(Notice::TrackWatched { track });
    assert_eq!(layers(&mut scene, &alice), [[true; 3]], "all, until a shard knows better");

    scene.notice(demand(&alice, track, Some(Layer(0))));
    let told = ToClient::LayersWanted { track: sid, codec: "vp8", qualities: [true, false, false] };
    assert_eq!(scene.take_told(&alice), [told]);
    for (layer_max, want) in [
        (Some(Layer(0)), vec![]),
        (Some(Layer(1)), vec![[true, true, false]]),
        (None, vec![[false; 3]]),
        (Some(Layer(2)), vec![[true; 3]]),
        (Some(Layer(200)), vec![]),
        (None, vec![[false; 3]]),
    ] {
        scene.notice(demand(&alice, track, layer_max));
        assert_eq!(layers(&mut scene, &alice), want, "{layer_max:?}");
    }
    scene.notice(Notice::TrackWatched { track });
    assert_eq!(layers(&mut scene, &alice), [[false; 3]; 0], "the shard knows better by now");
}

#[test]
fn the_codec_is_called_as_its_publisher_called_it() {
    let mut scene = Scene::new();
    let alice = scene.join("lobby", "alice");
    for (client_id, codec, want) in [("a", Some(Codec::Av1), "av1"), ("b", None, "vp8")] {
        let spec = TrackSpec { client_id: client_id.into(), codec, ..camera() };
        // Negotiation makes it VP8.
        let (track, _) = scene.publish(&alice, spec);
        scene.take_told(&alice);
        scene.notice(demand(&alice, track, None));
        let told = scene.take_told(&alice);
        assert!(matches!(told[..], [ToClient::LayersWanted { codec, .. }] if codec == want));
    }
}

#[test]
fn demand_for_what_is_no_video_of_ones_own_is_not_told() {
    let mut scene = Scene::new();
    let alice = scene.join("lobby", "alice");
    let bob = scene.join("lobby", "bob");
    let (microphone, _) = scene.publish(&alice, microphone());
    let (camera, _) = scene.publish(&bob, camera());
    scene.ask(&alice, Request::Publish(TrackSpec { client_id: "late".into(), ..self::camera() }));
    let (announced, _) = scene.announced(&alice);
    scene.take_told(&alice);
    scene.take_told(&bob);
    for track in [microphone, camera, announced, TrackId(77)] {
        scene.notice(demand(&alice, track, None));
    }
    assert_eq!((scene.take_told(&alice), scene.take_told(&bob)), (vec![], vec![]));
    // The client knows the track by its announcement alone until it is live.
    scene.live(&alice, announced, Kind::Video);
    assert_eq!(layers(&mut scene, &alice), [[false; 3]]);
}

#[test]
fn a_viewer_is_told_what_stands_still_for_want_of_bandwidth() {
    let mut scene = Scene::new();
    let alice = scene.join("lobby", "alice");
    let (track, sid) = scene.publish(&alice, camera());
    let bob = scene.join_as(Join { wire: Wire::Two, ..join("lobby", "bob") });
    let carol = scene.join("lobby", "carol");
    scene.take_told(&bob);
    scene.take_told(&carol);
    let state =
        |paused| ToClient::Delivery { publisher: alice.sid.clone(), track: sid.clone(), paused };
    for (paused, want) in [
        (false, vec![]),
        (true, vec![state(true)]),
        (true, vec![]),
        (false, vec![state(false)]),
        (true, vec![state(true)]),
    ] {
        scene.notice(delivery(&bob, track, paused));
        assert_eq!(scene.take_told(&bob), want);
    }
    assert_eq!(scene.take_told(&carol), [], "it is one viewer's business");

    // What is subscribed anew starts anew.
    let want = |wanted| Request::Subscribe { tracks: vec![sid.clone()], wanted };
    scene.ask(&bob, want(false));
    scene.notice(delivery(&bob, track, false));
    scene.ask(&bob, want(true));
    assert_eq!(deliveries(&mut scene, &bob), []);
    scene.notice(delivery(&bob, track, true));
    assert_eq!(deliveries(&mut scene, &bob), [state(true)]);
}

#[test]
fn who_comes_back_is_told_how_things_stand() {
    let mut scene = Scene::new();
    let alice = scene.join("lobby", "alice");
    let (track, _) = scene.publish(&alice, camera());
    let bob = scene.join("lobby", "bob");
    let (bobs, sid) = scene.publish(&bob, camera());
    scene.notice(delivery(&alice, bobs, true));
    scene.gone(&alice);
    scene.notice(demand(&alice, track, Some(Layer(0))));
    scene.notice(delivery(&alice, bobs, false));
    let alice = scene.resume(&alice);
    let told = scene.take_told(&alice);
    let wanted = |message: &ToClient| {
        matches!(message, ToClient::LayersWanted { qualities: [true, false, false], .. })
    };
    assert!(told.iter().any(wanted), "{told:?}");
    let state = ToClient::Delivery { publisher: bob.sid.clone(), track: sid, paused: false };
    assert!(told.contains(&state), "{told:?}");

    // While the link to the node was down, notices may have been lost: nothing is believed.
    scene.notice(delivery(&alice, bobs, true));
    scene.take_told(&alice);
    let held: Vec<Memo> = scene.memos.values().cloned().collect();
    scene.model.node_lost(NODE, scene.now);
    scene.node_up(NODE, &held);
    let told = scene.take_told(&alice);
    assert!(told.contains(&state), "{told:?}");
    let all =
        |m: &ToClient| matches!(m, ToClient::LayersWanted { qualities: [true, true, true], .. });
    assert!(told.iter().any(all), "{told:?}");
}

#[test]
fn a_shared_screen_goes_before_cameras() {
    let mut scene = Scene::new();
    let alice = scene.join("lobby", "alice");
    let spec = TrackSpec { source: Source::ScreenShare, ..camera() };
    let (track, _) = scene.publish(&alice, spec);
    scene.take_commands();
    let bob = scene.join("lobby", "bob");
    let tune = Tune { priority: Priority::Screen, ..Tune::default() };
    let tune = Command::Tune { session: bob.subscribe, track, tune };
    let commands: Vec<Command> = scene.take_commands().into_iter().map(|(_, c)| c).collect();
    let subscribed = commands.iter().position(|c| matches!(c, Command::Subscribe(_))).unwrap();
    assert_eq!(commands[subscribed + 1], tune);
}

#[test]
fn new_sizes_of_layers_are_new_wishes_of_viewers() {
    let mut scene = Scene::new();
    let alice = scene.join("lobby", "alice");
    let (track, sid) = scene.publish(&alice, camera());
    let bob = scene.join("lobby", "bob");
    let carol = scene.join("lobby", "carol");
    let viewing = Viewing { wish: Wish::Size(640, 360), fps: 15, rank: 1, ..Viewing::default() };
    scene.ask(&bob, Request::Tune { tracks: vec![sid.clone()], viewing });
    let tune = |layer_max| {
        let priority = Priority::Pinned;
        let tune = Tune { paused: false, layer_max, temporal_max: 1, priority };
        (ShardId(0), Command::Tune { session: bob.subscribe, track, tune })
    };
    assert_eq!(scene.take_commands().pop(), Some(tune(Layer(1))));
    let half =
        |layer: LayerSpec| LayerSpec { width: layer.width / 2, height: layer.height / 2, ..layer };
    let layers = camera().layers.into_iter().map(half).collect();
    let change = Retouch::Layers(layers);
    scene.ask(&alice, Request::Retouch { track: sid.clone(), change });
    assert_eq!(scene.take_commands(), [tune(Layer::TOP)], "carol takes whatever there is");
    scene.ask(&carol, Request::Leave);
    scene.take_commands();
    scene.ask(&bob, Request::Tune { tracks: vec![sid], viewing });
    assert_eq!(scene.take_commands(), [], "nothing new");
}
