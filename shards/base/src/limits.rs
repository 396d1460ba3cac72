//! Every maximum of Antipode, in one place.
//!
//! Full means a counted drop (media) or a refusal (control), never growth. Sizes are in bytes, times
//! are [`Duration`]s, the rest are counts.

use core::time::Duration;

// --- a node ---------------------------------------------------------------------------------------

/// Shards of one node. A ufrag carries the shard in two hexadecimal digits.
pub const SHARDS_MAX: usize = 256;
/// Sessions of one shard.
pub const SESSIONS_PER_SHARD_MAX: usize = 8_192;
/// Members of one node, as signaling takes them back from it.
pub const NODE_MEMBERS_MAX: usize = SHARDS_MAX * SESSIONS_PER_SHARD_MAX;
/// Rooms of one shard.
pub const ROOMS_PER_SHARD_MAX: usize = 4_096;

// --- a room ---------------------------------------------------------------------------------------

/// Members of one room on one shard.
pub const MEMBERS_PER_ROOM_MAX: usize = 8_192;
/// Tracks that one session may publish.
pub const TRACKS_PER_SESSION_MAX: usize = 16;
/// Tracks that one session may receive at once.
pub const SUBSCRIPTIONS_PER_SESSION_MAX: usize = 512;
/// Microphones of a room that a session may be limited to at once.
pub const AUDIO_TOP_MAX: u8 = 16;
/// Hops of one track: local viewers, shards and nodes together.
pub const HOPS_PER_TRACK_MAX: usize = 16_384;
/// Packets of each layer of a video track that a shard keeps for repeats: about two seconds.
pub const CACHE_PACKETS: usize = 512;
/// Packets of pictures that wait for a narrow path of one viewer.
pub const PACED_PACKETS_MAX: usize = 256;
/// Simulcast layers of one track.
pub const LAYERS_MAX: usize = 3;
/// Frames that one frame may need, as its descriptor names them: H264 knows 16, AV1 and VP9 fewer.
pub const FRAME_DIFFS_MAX: usize = 16;
/// Members of a room on one shard before the next one is placed on another shard.
pub const ROOM_SPILL_MEMBERS: usize = 64;

// --- a datagram -----------------------------------------------------------------------------------

/// The largest datagram that is read at all. Longer ones are cut by the kernel and dropped here.
pub const DATAGRAM_MAX: usize = 2_048;
/// The largest RTP datagram that is taken in, relayed or sent. str0m panics above its own buffer.
pub const RTP_MAX: usize = 1_500;
/// Datagrams of one receive batch.
pub const RECV_BATCH: usize = 64;
/// Trains of one send batch.
pub const SEND_BATCH: usize = 64;
/// Datagrams that one turn takes before it flushes: with 512, the first of a burst waits for the last and
/// their bytes leave the caches in between (250 rooms of two: 60 % more of p99, 5 % of CPU).
pub const TURN_DATAGRAMS_MAX: usize = 128;
/// Segments of one train: the kernel's UDP_MAX_SEGMENTS is 128, a message is at most 64 KiB.
pub const TRAIN_SEGMENTS_MAX: usize = 40;
/// Bytes of padding that make a packet as long as its neighbours, so that they leave as one train.
pub const LEVEL_PADDING_MAX: usize = 16;
/// Buffers of datagrams that one shard keeps to use again: what leaves between two looks at the socket, and a
/// keyframe to a viewer.
pub const SPARE_BUFFERS_MAX: usize = 256;
/// Datagrams that a shard seals before it sends them, and all that the viewer who got the last of them
/// gets, up to twice as many: few enough to be in the core's cache still, and to look for what is urgent
/// every tenth of a millisecond.
pub const SEND_AT: usize = 32;
/// Datagrams that may wait in one shard's outbox.
pub const OUTBOX_MAX: usize = 16_384;

// --- demultiplexing -------------------------------------------------------------------------------

/// Remote addresses of one session that are known to be its own.
pub const ADDRESSES_PER_SESSION_MAX: usize = 8;
/// Addresses that other shards own, as one shard remembers them.
pub const FOREIGN_ADDRESSES_MAX: usize = 131_072;
/// How long a shard waits before it claims a session's addresses again because nothing but STUN comes
/// from there: a claim may have been lost to a full ring.
pub const CLAIM_INTERVAL: Duration = Duration::from_secs(1);

// --- DTLS by OpenSSL ------------------------------------------------------------------------------

/// Datagrams of one handshake: a handful, and each again for as long as it is lost.
pub const DTLS_HANDSHAKE_DATAGRAMS_MAX: usize = 128;
/// Sealed records of one handshake. It has one, and OpenSSL keeps those that come too early.
pub const DTLS_HANDSHAKE_SEALED_MAX: usize = 32;
/// A message of a handshake, as its header has it. OpenSSL makes room for all of it when the first piece
/// comes. The longest is a certificate's.
pub const DTLS_MESSAGE_MAX: usize = 16 * 1024;
/// Datagrams that one call may make. A flight has a few.
pub const DTLS_OUTGOING_MAX: usize = 64;

// --- rings ----------------------------------------------------------------------------------------

/// Parcels in the ring from one shard to another.
pub const RING_PARCELS: usize = 4_096;
/// Parcels that one turn takes from one ring.
pub const TURN_PARCELS_MAX: usize = 512;

// --- ICE-TCP --------------------------------------------------------------------------------------

/// TCP connections of one node.
pub const TCP_CONNECTIONS_MAX: usize = 8_192;
/// TCP connections from one address (an IPv6 client: from its /64). An office behind one address
/// that blocks UDP has one or two for each of its people.
pub const TCP_CONNECTIONS_PER_ADDRESS_MAX: usize = 512;
/// New TCP connections a second from one address, and the burst.
pub const TCP_ACCEPTS_PER_S: u32 = 64;
/// See [`TCP_ACCEPTS_PER_S`].
pub const TCP_ACCEPTS_BURST: u32 = 256;
/// Addresses whose rate is remembered.
pub const TCP_ADDRESSES_MAX: usize = 16_384;
/// Connections that one turn accepts.
pub const TCP_TURN_ACCEPTS_MAX: usize = 64;
/// Bytes that one turn reads from one connection.
pub const TCP_TURN_READ_MAX: usize = 16 * 1024;
/// How long a new connection may take for its first message, a STUN binding request.
pub const TCP_GREETING_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it may stay unanswered: the shard answers nobody but the peers of its sessions.
pub const TCP_ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long either side of a connection may be silent. A client repeats its consent checks within
/// a few seconds (RFC 7675 §5.1), and a session that is gone does not answer them.
pub const TCP_SILENCE_MAX: Duration = Duration::from_secs(30);
/// Bytes that wait for a client which does not read, besides what the kernel holds.
pub const TCP_QUEUE_MAX: usize = 256 * 1024;
/// The same of all clients together.
pub const TCP_QUEUES_MAX: usize = 256 * 1024 * 1024;
/// What waited for longer is not sent: late media only delays what comes behind it.
pub const TCP_QUEUE_AGE_MAX: Duration = Duration::from_millis(500);
/// Bytes that the kernel takes from us beyond what it can send at once. More would wait there, where
/// nobody can drop it.
pub const TCP_UNSENT_MAX: usize = 32 * 1024;
/// Messages in the ring from the TCP thread to one shard, and in the one back.
pub const TCP_RING: usize = 4_096;
/// Messages that one turn takes from one of these rings.
pub const TCP_TURN_MESSAGES_MAX: usize = 512;

// --- control --------------------------------------------------------------------------------------

/// Commands or notices in the channel between the control thread and one shard.
pub const CONTROL_CHANNEL_MAX: usize = 4_096;
/// Bytes that wait for a signaling process which does not read; above it the node dials anew.
pub const CONTROL_BACKLOG_MAX: usize = 64 * 1024 * 1024;
/// How long the node waits for the challenge and for the end of its dialling.
pub const CONTROL_GREETING_TIMEOUT: Duration = Duration::from_secs(5);
/// The node's pause before it dials signaling again, at first and at most.
pub const CONTROL_REDIAL_MIN: Duration = Duration::from_millis(50);
/// See [`CONTROL_REDIAL_MIN`].
pub const CONTROL_REDIAL_MAX: Duration = Duration::from_secs(1);
/// Sessions that ended a moment ago, so that a memo which crossed the news is not kept for ever.
pub const ENDED_SESSIONS_MAX: usize = 16_384;
/// Timers that one turn looks at: those of hundreds of sessions are due together, and what they do takes some
/// twenty microseconds each, in which media waits.
pub const TURN_TIMERS_MAX: usize = 16;
/// Commands that one turn takes.
pub const TURN_COMMANDS_MAX: usize = 64;
/// After so long a turn takes no further command: media has its turn first.
pub const TURN_COMMANDS_TIME: Duration = Duration::from_millis(2);
/// One control frame between a node and signaling.
pub const CONTROL_FRAME_MAX: usize = 16 * 1024 * 1024;
/// An SDP. The SDK's offer with 100 sections is about 250 KiB.
pub const SDP_MAX: usize = 512 * 1024;
/// What signaling lets a node remember of one member.
pub const MEMO_MAX: usize = 96 * 1024;
/// A member's identity, name, or a track's client id.
pub const NAME_MAX: usize = 256;
/// A member's metadata.
pub const METADATA_MAX: usize = 32 * 1024;
/// A member's attributes, keys and values together.
pub const ATTRIBUTES_MAX: usize = 8 * 1024;

// --- the signaling edge ---------------------------------------------------------------------------

/// One message of a client on the WebSocket.
pub const SIGNAL_MESSAGE_MAX: usize = 1024 * 1024;
/// Bytes that one read from a client's WebSocket takes at most; each client has as much memory for itself.
pub const SIGNAL_READ_BUFFER: usize = 1024;
/// Bytes of answers to a client's pings that leave together: those in both forms have 40.
pub const SIGNAL_ANSWERS_BUFFER: usize = 64;
/// Bytes of a message to a client in one WebSocket frame: a client's buffer keeps the size of its longest.
pub const SIGNAL_FRAME_MAX: usize = 4 * 1024;
/// The join request in the URL, before and after it is unpacked.
pub const JOIN_REQUEST_PACKED_MAX: usize = 64 * 1024;
/// See [`JOIN_REQUEST_PACKED_MAX`].
pub const JOIN_REQUEST_MAX: usize = 512 * 1024;
/// An access token.
pub const TOKEN_MAX: usize = 16 * 1024;
/// Messages waiting for one slow client.
pub const SIGNAL_QUEUE_MAX: usize = 1_024;
/// Messages a second from one client, and the burst.
pub const SIGNAL_RATE_PER_S: u32 = 200;
/// See [`SIGNAL_RATE_PER_S`].
pub const SIGNAL_RATE_BURST: u32 = 1_000;
/// WebSockets of one signaling process.
pub const SIGNAL_CLIENTS_MAX: usize = 65_536;
/// How long a client may take to send its headers.
pub const HTTP_HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the client pings, and how long it may be silent.
pub const SIGNAL_PING_INTERVAL: Duration = Duration::from_secs(5);
/// See [`SIGNAL_PING_INTERVAL`].
pub const SIGNAL_PING_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a member stays in the room after its WebSocket is gone, so that it can resume.
pub const RESUME_WINDOW: Duration = Duration::from_secs(30);
/// How long a join waits for a node to come (back).
pub const NODE_WAIT: Duration = Duration::from_secs(8);
/// How long a node whose control link broke may take to dial again before its members are told.
pub const NODE_GRACE: Duration = Duration::from_secs(1);
/// How long a node may take for its hello and its snapshot.
pub const NODE_HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// How long signaling waits for a node that does not take its commands before it drops the link.
pub const NODE_STALL_MAX: Duration = Duration::from_secs(2);
/// Nodes of one signaling process.
pub const NODES_MAX: usize = 256;
/// New connections a second from one client address, and the burst.
pub const SIGNAL_CONNECTS_PER_S: u32 = 100;
/// See [`SIGNAL_CONNECTS_PER_S`].
pub const SIGNAL_CONNECTS_BURST: u32 = 400;
/// Client addresses whose rate is remembered.
pub const SIGNAL_ADDRESSES_MAX: usize = 65_536;
/// How long a token lives that keeps a connected client able to come back.
pub const TOKEN_REFRESH: Duration = Duration::from_secs(600);

/// A call of the server API.
pub const SERVICE_BODY_MAX: usize = 16 * 1024;
/// Members whose tokens were revoked; with one more, the one that was revoked first is forgotten.
pub const REVOCATIONS_MAX: usize = 65_536;

// --- WHIP and WHEP ---------------------------------------------------------------------------------

/// HTTP resources of one signaling process.
pub const HTTP_RESOURCES_MAX: usize = 65_536;
/// An offer by HTTP. It goes into the member's memo, beside all else that is there. Chromium's, with every
/// codec that it knows, is about 10 KiB.
pub const HTTP_OFFER_MAX: usize = 48 * 1024;
/// A fragment (RFC 8840) by HTTP.
pub const HTTP_FRAGMENT_MAX: usize = 16 * 1024;
/// The choice of a layer, as JSON.
pub const HTTP_CHOICE_MAX: usize = 4 * 1024;
/// How long an offer may wait for its answer: for a node to come, and for its shard.
pub const HTTP_ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// When to come again after a refusal for want of room.
pub const HTTP_RETRY_AFTER: Duration = Duration::from_secs(2);
/// Changes to one resource in a second, and the burst.
pub const HTTP_PATCHES_PER_S: u32 = 5;
/// See [`HTTP_PATCHES_PER_S`].
pub const HTTP_PATCHES_BURST: u32 = 20;
/// Those who listen to one player's events at once.
pub const PLAYER_LISTENERS_MAX: usize = 4;
/// Events that wait for one of them that does not read.
pub const PLAYER_EVENTS_MAX: usize = 32;

// --- data channels --------------------------------------------------------------------------------

/// One data packet. The SDK cuts larger ones itself.
pub const DATA_PACKET_MAX: usize = 64 * 1024;
/// Bytes buffered towards one slow receiver before its data packets are dropped.
pub const DATA_BUFFERED_MAX: usize = 2 * 1024 * 1024;
/// Destinations of one data packet.
pub const DATA_DESTINATIONS_MAX: usize = 256;

// --- what media and feedback of a peer can cost ---------------------------------------------------

/// Senders of RTCP at one viewer whose packets are told from their repeats.
pub const RTCP_SENDERS_MAX: usize = 64;
/// Packets to one viewer that are remembered until it reports them: four seconds at 1,000 a second.
pub const SENT_MAX: usize = 4_096;
/// Arrivals at one viewer over which a queue on its path is measured: a quarter of a second at 2,000
/// packets a second.
pub const BUSY_PACKETS_MAX: usize = 512;
/// Streams of one publisher whose numbers are remembered, those of repeats too; with one more, the one that
/// was silent longest is forgotten.
pub const INCOMING_STREAMS_MAX: usize = 2 * TRACKS_PER_SESSION_MAX * LAYERS_MAX;
/// Packets, those that did not come included, that one transport-wide feedback of ours is about.
pub const FEEDBACK_REPORTED_MAX: u64 = 1_000;
/// Packets that one transport-wide feedback may speak of. A longer one is cut: at 500 packets a
/// second and ten feedbacks a second there are fifty.
pub const FEEDBACK_PACKETS_MAX: usize = 4_096;
/// Packets of one stream that are asked for again. More at once is an outage: its newest are.
pub const MISSING_MAX: usize = 1_000;
/// Missing packets that one RTCP packet may name; the rest is not looked at.
pub const MISSED_PER_REPORT_MAX: usize = 512;
/// Repeats that one RTCP packet can cause.
pub const REPEATS_PER_REPORT_MAX: usize = 64;
/// Repeats on one stream that are remembered, so that one request is answered once.
pub const REPEATS_MAX: usize = 128;
/// Stretches of one input stream that are remembered, to find what a sequence number stood for. A
/// stretch ends where packets are left out: with temporal layers some twenty times a second.
pub const STRETCHES_MAX: usize = 48;
/// Packets left out of one stream whose numbers may still be wanted. At thirty pictures a second of which
/// two thirds are left out, the last second or two; what comes later than that is given up.
pub const SKIPS_MAX: usize = 64;
/// Sender reports whose sending times are remembered, for the round-trip time.
pub const REPORTS_MAX: usize = 16;
/// Packets of padding at one step of a probe: what a hostile estimate could ask for is cut here.
pub const PROBE_PACKETS_MAX: usize = 128;
/// `a=mid` goes along until the viewer reports on the stream, and so many packets long at most.
pub const MID_PACKETS_MAX: u32 = 500;
/// Packets since the last keyframe that a viewer who begins now is given at once.
pub const BEGINNING_MAX: u64 = 256;

// --- sound ----------------------------------------------------------------------------------------

/// Microphones that a room may be set to forward to each viewer, the loudest of all.
pub const LOUDEST_MAX: usize = 16;
/// Microphones of one room whose loudness one shard follows.
pub const MICROPHONES_PER_ROOM_MAX: usize = 16_384;
/// How far back a microphone that becomes audible is sent, so that its first syllable is whole.
pub const LOOK_BACK: Duration = Duration::from_millis(80);
/// Packets of one look-back: that time in packets of 10 ms, the shortest in use.
pub const LOOK_BACK_PACKETS: usize = 8;
/// Blocks of one RFC 2198 packet, the primary one too.
/// Chromium sends two.
pub const RED_BLOCKS_MAX: usize = 8;
/// The longest RFC 2198 payload that we make; redundancy that does not fit is left out.
pub const RED_PAYLOAD_MAX: usize = 1_200;

// --- times ----------------------------------------------------------------------------------------

/// At most one keyframe request a layer reaches a publisher in this time.
pub const KEYFRAME_INTERVAL: Duration = Duration::from_millis(1_000);
/// The oldest that the kernel's stamp may make a datagram. The calendar's clock is put right now and
/// then, and stamps from before that are wrong by as much.
pub const STAMP_AGE_MAX: Duration = Duration::from_secs(1);
/// A layer without packets for this long counts as stopped.
pub const LAYER_SILENCE: Duration = Duration::from_millis(1_500);
/// A node's first pause before it asks a STUN server again; each further one is twice as long.
pub const STUN_RETRY: Duration = Duration::from_millis(500);
/// How long a node waits for a STUN server before it refuses to start.
pub const STUN_TIMEOUT: Duration = Duration::from_secs(5);
/// A session that never connects is ended after this.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a shard reports levels of its speakers.
pub const LEVEL_INTERVAL: Duration = Duration::from_millis(400);
/// A room of so many members learns in bundles who came and who went, unless they publish.
pub const NEWS_ROOM_MIN: usize = 32;
/// Messages a second that a room is told so in all, as long as that takes no longer than
/// [`NEWS_INTERVAL_MAX`].
pub const NEWS_PER_S: f64 = 500.0;
/// The longest time from one bundle to the next.
pub const NEWS_INTERVAL_MAX: Duration = Duration::from_secs(1);
/// Members in one bundle.
pub const NEWS_BUNDLE_MAX: usize = 256;
/// How often a shard reports the quality of its sessions.
pub const QUALITY_INTERVAL: Duration = Duration::from_secs(5);
/// How often a shard publishes its counters.
pub const STATS_INTERVAL: Duration = Duration::from_secs(1);

// --- the load harness -----------------------------------------------------------------------------

/// What one client's socket of the harness holds in each direction: half a second of 4 Mbit/s.
pub const BENCH_SOCKET_BUFFER: usize = 256 * 1024;
/// What a socket of the harness holds that is for many clients, if the host grants it: how many times the
/// above that is, so many clients it is for.
pub const BENCH_DOOR_BUFFER: usize = 64 * 1024 * 1024;
/// Addresses of loopback behind one socket of the harness, one after the other.
pub const BENCH_DOOR_ADDRESSES_MAX: usize = 60_000;
/// Clients of one run of the harness.
pub const BENCH_CLIENTS_MAX: u32 = 20_000;
/// Servers of one run of the harness: nodes of a cascade.
pub const BENCH_SERVERS_MAX: usize = 64;
/// Rounds of a comparison or a sweep.
pub const BENCH_ROUNDS_MAX: u32 = 100;
/// How long a server that the harness starts may take to answer, and to end.
pub const BENCH_SERVER_PATIENCE: Duration = Duration::from_secs(30);
/// What the harness reads of one answer over HTTP.
pub const BENCH_HTTP_MAX: usize = 4 * 1024 * 1024;
/// How long one step of a client's join may take before the harness gives it up.
pub const BENCH_STEP_TIMEOUT: Duration = Duration::from_secs(15);

const _: () = assert!(RTP_MAX < DATAGRAM_MAX && DATAGRAM_MAX <= u16::MAX as usize);
const _: () = assert!(2 * SEND_AT < SPARE_BUFFERS_MAX);
const _: () = assert!(RECV_BATCH <= TURN_DATAGRAMS_MAX);
const _: () = assert!(SEND_BATCH * TRAIN_SEGMENTS_MAX <= OUTBOX_MAX);
const _: () = assert!(CONTROL_FRAME_MAX + 4 <= CONTROL_BACKLOG_MAX);
const _: () = assert!(SESSIONS_PER_SHARD_MAX <= ENDED_SESSIONS_MAX);
const _: () = assert!(TURN_PARCELS_MAX <= RING_PARCELS);
const _: () = assert!(TCP_TURN_MESSAGES_MAX <= TCP_RING);
const _: () = assert!(TCP_CONNECTIONS_PER_ADDRESS_MAX <= TCP_CONNECTIONS_MAX);
const _: () = assert!(TCP_QUEUE_MAX < TCP_QUEUES_MAX && DATAGRAM_MAX < TCP_QUEUE_MAX);
const _: () = assert!(TURN_COMMANDS_MAX <= CONTROL_CHANNEL_MAX);
const _: () = assert!(TRAIN_SEGMENTS_MAX * RTP_MAX < 65_536);
const _: () = assert!(JOIN_REQUEST_PACKED_MAX <= JOIN_REQUEST_MAX);
const _: () = assert!(SDP_MAX <= SIGNAL_MESSAGE_MAX && SIGNAL_MESSAGE_MAX <= CONTROL_FRAME_MAX);
const _: () = assert!(HTTP_OFFER_MAX + METADATA_MAX + ATTRIBUTES_MAX < MEMO_MAX);
const _: () =
    assert!(HTTP_OFFER_MAX <= SDP_MAX && NODE_WAIT.as_secs() < HTTP_ANSWER_TIMEOUT.as_secs());
const _: () = assert!(LAYERS_MAX <= 8);
const _: () = assert!(CACHE_PACKETS.is_power_of_two());
const _: () = assert!(RED_PAYLOAD_MAX < RTP_MAX);
const _: () =
    assert!(BEGINNING_MAX <= CACHE_PACKETS as u64 && REPEATS_PER_REPORT_MAX <= REPEATS_MAX);
