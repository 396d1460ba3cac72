//! Publishers by WHIP and players by WHEP.

mod players;

use super::*;
use crate::model::http::{Address, Ask, Condition, Credentials, Open, Way};
use crate::model::program::{Choice, Program, Sound};
use antipode_base::command::{CloseReason, Role};
use antipode_base::limits::{HTTP_PATCHES_BURST, NODE_WAIT, RESUME_WINDOW};
use antipode_base::notice::EndReason;

const OFFER: &str = "v=0\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n\
    m=audio 9 X 111\r\na=mid:0\r\na=sendrecv\r\nm=video 9 X 96\r\na=mid:1\r\na=sendrecv\r\n";
const ANSWER: &str = "v=0\r\na=group:BUNDLE 0 1\r\nm=audio 9 X 111\r\na=mid:0\r\na=ice-ufrag:00own\r\n\
    a=ice-pwd:word\r\nm=video 9 X 96\r\na=mid:1\r\n";

/// What a request became, and whose it is.
#[derive(Clone, Debug)]
struct Seat {
    address: Address,
    member: MemberId,
    session: SessionId,
}

fn everything() -> Program {
    Program {
        of: None,
        sound: Sound::Top,
        audio_sections: 1,
        video_sections: 1,
        video_line: 1,
        codecs: vec![Codec::Opus, Codec::Vp8],
        choice: Choice::default(),
    }
}

fn open(way: Way, identity: &str, program: Option<Program>) -> Open {
    let tracks = if way == Way::Whip { vec![microphone(), camera()] } else { Vec::new() };
    let offer = Some(Description { id: 1, sdp: OFFER.to_owned() });
    let join = Join { auto_subscribe: false, tracks, offer, ..join("lobby", identity) };
    Open { join, way, program }
}

impl Scene {
    /// Without an answer of its shard.
    fn ask_in(&mut self, open: Open) -> (ClientId, Option<SessionId>) {
        let call = self.next_client();
        self.take_commands();
        self.model.open(call, open, self.now);
        self.settle();
        let session = self.commands.iter().find_map(|(_, command)| match command {
            Command::OpenSession(open) => Some(open.session),
            _ => None,
        });
        (call, session)
    }

    fn answer(&mut self, session: SessionId, id: u32, sdp: &str) {
        let sdp = sdp.to_owned();
        self.notice(Notice::Answer { session, id, sdp, slots: Vec::new() });
    }

    fn reply(&self, call: ClientId) -> Option<Result<Reply, Denied>> {
        self.replies.iter().find(|(of, _)| *of == call).map(|(_, reply)| reply.clone())
    }

    fn let_in(&mut self, open: Open) -> Seat {
        let (way, identity) = (open.way, open.join.who.identity.clone());
        let (call, session) = self.ask_in(open);
        let session = session.expect("there is a node");
        self.answer(session, 1, ANSWER);
        let Some(Ok(Reply::Opened { id, tag, sdp })) = self.reply(call) else {
            panic!("{:?}", self.replies)
        };
        assert_eq!((tag.as_str(), sdp.as_str()), ("00own", ANSWER));
        let member = self.model.sessions[&session];
        Seat { address: Address { way, room: "lobby".into(), id, identity }, member, session }
    }

    fn player(&mut self, program: Program) -> Seat {
        self.let_in(open(Way::Whep, "wall", Some(program)))
    }

    /// A publisher whose tracks are live.
    fn publisher(&mut self, identity: &str) -> (Seat, Vec<TrackId>) {
        let seat = self.let_in(open(Way::Whip, identity, None));
        let tracks: Vec<(TrackId, Kind)> =
            self.model.members[&seat.member].tracks.iter().map(|t| (t.id, t.spec.kind)).collect();
        let guest = Guest {
            client: ClientId(0),
            room: "lobby".into(),
            identity: identity.into(),
            sid: String::new(),
            publish: seat.session,
            subscribe: seat.session,
        };
        for (track, kind) in &tracks {
            self.live(&guest, *track, *kind);
        }
        (seat, tracks.into_iter().map(|(track, _)| track).collect())
    }

    fn request(&mut self, address: &Address, ask: Ask) -> Result<Reply, Denied> {
        let call = self.next_client();
        self.model.ask(call, address, ask, self.now);
        self.settle();
        self.reply(call).expect("it is answered at once")
    }

    /// What a player is sent.
    fn on(&self, seat: &Seat) -> Vec<TrackId> {
        let subscriptions = &self.model.members[&seat.member].subscriptions;
        let active = subscriptions.iter().filter(|(_, found)| found.active);
        active.map(|(track, _)| *track).collect()
    }

    fn speak(&mut self, track: TrackId, level: f32) {
        let room = self.model.members[&self.model.tracks[&track]].room;
        let levels = vec![antipode_base::notice::Level { track, level }];
        self.notice(Notice::Levels { room, levels });
        self.pass(Duration::from_millis(1));
    }
}

fn both(tracks: &[TrackId]) -> Vec<TrackId> {
    let mut tracks = tracks.to_vec();
    tracks.sort_unstable();
    tracks
}

fn restart(ufrag: &str) -> Ask {
    let credentials = Credentials { ufrag: ufrag.into(), password: "x".repeat(22) };
    Ask::Patch(Condition::Any, Some(credentials))
}

#[test]
fn a_publisher_is_a_participant_as_others_are() {
    let mut scene = Scene::new();
    let bob = scene.join("lobby", "bob");
    let (studio, tracks) = scene.publisher("studio");
    let roles: Vec<(Role, bool)> = scene
        .commands
        .iter()
        .filter_map(|(_, command)| match command {
            Command::OpenSession(open) => Some((open.role, open.rsa)),
            _ => None,
        })
        .collect();
    assert_eq!(roles, [(Role::Publish, true)], "its certificate may be of RSA");
    let view = scene.sees(&bob, "studio").expect("bob hears of it");
    let sources: Vec<Source> = view.tracks.iter().map(|track| track.spec.source).collect();
    assert_eq!(sources, [Source::Microphone, Source::Camera]);
    let subscribed = |scene: &Scene, track: TrackId| {
        let told = |command: &Command| matches!(command, Command::Subscribe(s) if s.track == track);
        scene.commands.iter().any(|(_, command)| told(command))
    };
    assert!(tracks.iter().all(|track| subscribed(&scene, *track)));
    assert_eq!(scene.request(&studio.address, Ask::Close), Ok(Reply::Done));
    assert_eq!(scene.sees(&bob, "studio").unwrap().gone, Some(Gone::Left));
    assert_eq!(scene.over, [studio.member]);
}

#[test]
fn a_resource_is_its_makers_alone_and_ends_once() {
    let mut scene = Scene::new();
    let (studio, _) = scene.publisher("studio");
    let own = &studio.address;
    for wrong in [
        Address { way: Way::Whep, ..own.clone() },
        Address { room: "vault".into(), ..own.clone() },
        Address { identity: "mallory".into(), ..own.clone() },
        Address { id: "x".into(), ..own.clone() },
    ] {
        assert_eq!(scene.request(&wrong, Ask::Close), Err(Denied::Unknown), "{wrong:?}");
    }
    assert_eq!(scene.request(own, Ask::Look), Ok(Reply::Done));
    assert_eq!(scene.request(own, Ask::Close), Ok(Reply::Done));
    for ask in [Ask::Close, Ask::Look, restart("efgh")] {
        assert_eq!(scene.request(own, ask), Err(Denied::Unknown));
    }
    let close = Command::CloseSession { session: studio.session, reason: CloseReason::Left };
    assert_eq!(scene.commands.last(), Some(&(ShardId(0), close)));
}

#[test]
fn two_hundred_come_and_go_and_nothing_is_left() {
    let mut scene = Scene::new();
    for n in 0..100 {
        let (studio, _) = scene.publisher("studio");
        let wall = scene.player(everything());
        assert_eq!(scene.model.resource_counts(), (1, 1));
        match n % 3 {
            0 => assert_eq!(scene.request(&studio.address, Ask::Close), Ok(Reply::Done)),
            1 => {
                let (session, reason) = (studio.session, EndReason::TimedOut);
                scene.notice(Notice::SessionEnded { session, reason });
            }
            _ => {
                let (session, reason) = (studio.session, EndReason::PeerClosed);
                scene.notice(Notice::SessionEnded { session, reason });
                scene.pass(Duration::from_secs(2));
            }
        }
        assert_eq!(scene.request(&wall.address, Ask::Close), Ok(Reply::Done));
        scene.told.clear();
    }
    assert_eq!(scene.model.sizes(), (0, 0, 1));
    assert_eq!(scene.model.resource_counts(), (0, 0));
    let model = &scene.model;
    assert!(model.sessions.is_empty() && model.tracks.is_empty() && model.clients.is_empty());
    assert!(model.stirred.is_empty() && model.waiting.is_empty());
    assert_eq!(scene.over.len(), 200);
}

#[test]
fn an_offer_that_is_refused_leaves_nothing() {
    let refused = ANSWER.replace("BUNDLE 0 1", "BUNDLE 0").replace("video 9", "video 0");
    let none = refused.replace("BUNDLE 0", "BUNDLE").replace("audio 9", "audio 0");
    let partly = Denied::Codec { sections: vec![1], all: false };
    let all = Denied::Codec { sections: vec![0, 1], all: true };
    for (way, answer, want) in [
        (Way::Whip, &refused, Some(partly)),
        (Way::Whip, &none, Some(all.clone())),
        (Way::Whep, &refused, None),
        (Way::Whep, &none, Some(all)),
    ] {
        let mut scene = Scene::new();
        let program = (way == Way::Whep).then(everything);
        let (call, session) = scene.ask_in(open(way, "studio", program));
        scene.answer(session.unwrap(), 1, answer);
        let taken = want.is_none();
        assert_eq!(scene.reply(call).unwrap().err(), want, "{way:?}");
        assert_eq!(scene.model.members.len(), usize::from(taken));
    }
    let mut scene = Scene::new();
    let (call, session) = scene.ask_in(open(Way::Whip, "studio", None));
    let reason = "no sense".to_owned();
    scene.notice(Notice::NegotiationFailed { session: session.unwrap(), id: 1, reason });
    assert_eq!(scene.reply(call), Some(Err(Denied::Offer("no sense".into()))));
    assert_eq!(scene.model.sizes(), (0, 0, 1));
}

#[test]
fn whoever_waits_is_answered_in_any_case() {
    let mut scene = Scene::empty(Options::default());
    let (early, _) = scene.ask_in(open(Way::Whip, "studio", None));
    assert_eq!(scene.reply(early), None, "a node may come");
    scene.pass(NODE_WAIT);
    assert_eq!(scene.refused, [(early, Refusal::NoNode)]);
    let (call, _) = scene.ask_in(open(Way::Whip, "studio", None));
    scene.node_up(NODE, &[]);
    let session = *scene.model.sessions.keys().next().expect("it came in with the node");
    let reason = EndReason::Refused;
    scene.notice(Notice::SessionEnded { session, reason });
    assert_eq!(scene.reply(call), Some(Err(Denied::Ended)));
    // Whoever asked went before the answer came.
    let (studio, _) = scene.publisher("studio");
    scene.model.abandon(&studio.address.id, scene.now);
    scene.settle();
    assert_eq!(scene.model.sizes(), (0, 0, 1));
}

#[test]
fn a_restart_is_the_offer_with_other_credentials() {
    let mut scene = Scene::new();
    let (studio, _) = scene.publisher("studio");
    let own = Credentials { ufrag: "abcd".into(), password: "0123456789012345678901".into() };
    let tags = |tag: &str| Condition::Tags(vec![tag.to_owned()]);
    for (condition, want) in [
        (Condition::None, Err(Denied::Unconditional)),
        (tags("stale"), Err(Denied::Stale)),
        (tags("00own"), Ok(Reply::Done)),
        (Condition::Any, Ok(Reply::Done)),
    ] {
        let ask = Ask::Patch(condition.clone(), Some(own.clone()));
        assert_eq!(scene.request(&studio.address, ask), want, "{condition:?}");
        let told =
            scene.take_commands().iter().any(|(_, c)| matches!(c, Command::Offer { id: 2, .. }));
        assert!(!told, "nothing changed");
    }
    let (first, second) = (scene.next_client(), scene.next_client());
    scene.model.ask(first, &studio.address, restart("efgh"), scene.now);
    scene.model.ask(second, &studio.address, restart("ijkl"), scene.now);
    scene.settle();
    assert_eq!(scene.reply(first), Some(Err(Denied::Overtaken)));
    let offers: Vec<(u32, String)> = scene
        .take_commands()
        .into_iter()
        .filter_map(|(_, command)| match command {
            Command::Offer { id, sdp, .. } => Some((id, sdp)),
            _ => None,
        })
        .collect();
    assert_eq!((offers[0].0, offers[1].0), (2, 3));
    assert!(offers[1].1.contains("a=ice-ufrag:ijkl") && offers[1].1.contains("m=video 9 X 96"));
    let answer = ANSWER.replace("00own", "00new");
    scene.answer(studio.session, 2, ANSWER);
    assert_eq!(scene.reply(second), None, "the answer to the older offer");
    scene.answer(studio.session, 3, &answer);
    let want = Reply::Restarted { tag: "00new".into(), sdp: answer };
    assert_eq!(scene.reply(second), Some(Ok(want)));

    // One that fails leaves the session, its tag and its credentials as they were.
    let third = scene.next_client();
    scene.model.ask(third, &studio.address, restart("mnop"), scene.now);
    scene.settle();
    let (session, reason) = (studio.session, "no sense".to_owned());
    scene.notice(Notice::NegotiationFailed { session, id: 4, reason: reason.clone() });
    assert_eq!(scene.reply(third), Some(Err(Denied::Offer(reason))));
    let resource = scene.model.members[&studio.member].http.as_ref().unwrap();
    assert_eq!(resource.tag, "00new");
    assert!(resource.offer.contains("ufrag:ijkl"));
}

#[test]
fn a_flood_of_changes_is_slowed() {
    let mut scene = Scene::new();
    let (studio, _) = scene.publisher("studio");
    let patch = || Ask::Patch(Condition::Any, None);
    let granted = |scene: &mut Scene| {
        (0..HTTP_PATCHES_BURST * 2)
            .filter(|_| scene.request(&studio.address, patch()) == Ok(Reply::Done))
            .count()
    };
    assert_eq!(granted(&mut scene), HTTP_PATCHES_BURST as usize);
    assert_eq!(scene.request(&studio.address, patch()), Err(Denied::TooMany));
    scene.pass(Duration::from_secs(1));
    assert_eq!(scene.request(&studio.address, patch()), Ok(Reply::Done));
    assert_eq!(scene.request(&studio.address, Ask::Look), Ok(Reply::Done));
}

#[test]
fn a_player_is_seen_by_nobody_and_may_come_twice() {
    let mut scene = Scene::new();
    let bob = scene.join("lobby", "bob");
    let first = scene.player(everything());
    let second = scene.player(everything());
    assert_eq!(scene.model.resource_counts(), (0, 2));
    assert_ne!(first.address.id, second.address.id);
    assert!(scene.told(&bob).iter().all(|message| !matches!(message, ToClient::Members(m)
        if m.iter().any(|view| view.who.identity != "bob"))));
    let roles: Vec<(Role, bool)> = scene
        .take_commands()
        .iter()
        .filter_map(|(_, command)| match command {
            Command::OpenSession(open) => Some((open.role, open.rsa)),
            _ => None,
        })
        .collect();
    assert_eq!(roles, [(Role::Play, true)], "its certificate may be of RSA");
}

#[test]
fn a_successor_finds_publishers_and_players_with_their_addresses() {
    let mut scene = Scene::new();
    let (studio, tracks) = scene.publisher("studio");
    let wall = scene.player(everything());
    assert_eq!(scene.on(&wall), both(&tracks));
    let mut next = Scene::empty(Options::default());
    next.model = Model::new(Options::default(), StdRng::seed_from_u64(8));
    next.now = scene.now;
    next.clients = 1_000;
    let memos: Vec<Memo> = scene.memos.values().cloned().collect();
    next.node_up(NODE, &memos);
    next.pass(RESUME_WINDOW * 2);
    assert_eq!(next.model.resource_counts(), (1, 1), "nobody waits for their WebSockets");
    assert_eq!(next.on(&wall), both(&tracks));
    let closes = |scene: &Scene| {
        let close = |command: &Command| matches!(command, Command::CloseSession { .. });
        scene.commands.iter().filter(|(_, command)| close(command)).count()
    };
    assert_eq!(closes(&next), 0);
    // The ICE session is known by its tag, and can be restarted.
    let stale = Ask::Patch(Condition::Tags(vec!["x".into()]), None);
    assert_eq!(next.request(&studio.address, stale), Err(Denied::Stale));
    let own = Ask::Patch(Condition::Tags(vec!["00own".into()]), None);
    assert_eq!(next.request(&studio.address, own), Ok(Reply::Done));
    let call = next.next_client();
    next.model.ask(call, &studio.address, restart("efgh"), next.now);
    next.settle();
    next.answer(studio.session, 2, &ANSWER.replace("00own", "00new"));
    assert!(matches!(next.reply(call), Some(Ok(Reply::Restarted { .. }))));
    // What comes later is played, and both can be ended.
    next.request(&studio.address, Ask::Close).unwrap();
    let (_, later) = next.publisher("other");
    assert_eq!(next.on(&wall), both(&later));
    assert_eq!(next.request(&wall.address, Ask::Close), Ok(Reply::Done));
}
