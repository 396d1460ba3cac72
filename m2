# HELP antipode_sessions Sessions of the shard.
# TYPE antipode_sessions gauge
antipode_sessions{node="node-77e4fda46b62ddb7",shard="0"} 201
# HELP antipode_rooms Rooms with a member on the shard.
# TYPE antipode_rooms gauge
antipode_rooms{node="node-77e4fda46b62ddb7",shard="0"} 1
# HELP antipode_tracks Tracks known to the shard, local and from elsewhere.
# TYPE antipode_tracks gauge
antipode_tracks{node="node-77e4fda46b62ddb7",shard="0"} 1
# HELP antipode_subscriptions Subscriptions of sessions of the shard.
# TYPE antipode_subscriptions gauge
antipode_subscriptions{node="node-77e4fda46b62ddb7",shard="0"} 200
# HELP antipode_datagrams_in Datagrams received.
# TYPE antipode_datagrams_in counter
antipode_datagrams_in_total{node="node-77e4fda46b62ddb7",shard="0"} 46063
# HELP antipode_datagrams_out Datagrams sent.
# TYPE antipode_datagrams_out counter
antipode_datagrams_out_total{node="node-77e4fda46b62ddb7",shard="0"} 486455
# HELP antipode_bytes_in Bytes of UDP payload received.
# TYPE antipode_bytes_in counter
antipode_bytes_in_total{node="node-77e4fda46b62ddb7",shard="0"} 5728205
# HELP antipode_bytes_out Bytes of UDP payload sent.
# TYPE antipode_bytes_out counter
antipode_bytes_out_total{node="node-77e4fda46b62ddb7",shard="0"} 528407755
# HELP antipode_packets_in RTP packets taken from publishers.
# TYPE antipode_packets_in counter
antipode_packets_in_total{node="node-77e4fda46b62ddb7",shard="0"} 2563
# HELP antipode_packets_out RTP packets handed to viewers.
# TYPE antipode_packets_out counter
antipode_packets_out_total{node="node-77e4fda46b62ddb7",shard="0"} 475820
# HELP antipode_parcels_in Parcels received from other shards.
# TYPE antipode_parcels_in counter
antipode_parcels_in_total{node="node-77e4fda46b62ddb7",shard="0"} 0
# HELP antipode_parcels_out Parcels sent to other shards.
# TYPE antipode_parcels_out counter
antipode_parcels_out_total{node="node-77e4fda46b62ddb7",shard="0"} 0
# HELP antipode_strays_out Datagrams that hopped to their owner.
# TYPE antipode_strays_out counter
antipode_strays_out_total{node="node-77e4fda46b62ddb7",shard="0"} 0
# HELP antipode_keyframe_requests Keyframe requests to publishers.
# TYPE antipode_keyframe_requests counter
antipode_keyframe_requests_total{node="node-77e4fda46b62ddb7",shard="0"} 3
# HELP antipode_sessions_opened Sessions since the start.
# TYPE antipode_sessions_opened counter
antipode_sessions_opened_total{node="node-77e4fda46b62ddb7",shard="0"} 201
# HELP antipode_session_faults Sessions ended by a defect of ours.
# TYPE antipode_session_faults counter
antipode_session_faults_total{node="node-77e4fda46b62ddb7",shard="0"} 0
# HELP antipode_shard_restarts Restarts of the shard after a panic.
# TYPE antipode_shard_restarts counter
antipode_shard_restarts_total{node="node-77e4fda46b62ddb7",shard="0"} 0
# HELP antipode_turns Turns of the shard's loop.
# TYPE antipode_turns counter
antipode_turns_total{node="node-77e4fda46b62ddb7",shard="0"} 4244
# HELP antipode_trains_out Segmented sends.
# TYPE antipode_trains_out counter
antipode_trains_out_total{node="node-77e4fda46b62ddb7",shard="0"} 83928
# HELP antipode_media_held_seconds From when the kernel had a publisher's packet until all that its turn sent had left.
# TYPE antipode_media_held_seconds histogram
antipode_media_held_seconds_sum{node="node-77e4fda46b62ddb7",shard="0"} 4.702134
antipode_media_held_seconds_count{node="node-77e4fda46b62ddb7",shard="0"} 2563
antipode_media_held_seconds_bucket{le="0.00001",node="node-77e4fda46b62ddb7",shard="0"} 0
antipode_media_held_seconds_bucket{le="0.00002",node="node-77e4fda46b62ddb7",shard="0"} 1
antipode_media_held_seconds_bucket{le="0.00005",node="node-77e4fda46b62ddb7",shard="0"} 28
antipode_media_held_seconds_bucket{le="0.0001",node="node-77e4fda46b62ddb7",shard="0"} 135
antipode_media_held_seconds_bucket{le="0.0002",node="node-77e4fda46b62ddb7",shard="0"} 261
antipode_media_held_seconds_bucket{le="0.0005",node="node-77e4fda46b62ddb7",shard="0"} 315
antipode_media_held_seconds_bucket{le="0.001",node="node-77e4fda46b62ddb7",shard="0"} 375
antipode_media_held_seconds_bucket{le="0.002",node="node-77e4fda46b62ddb7",shard="0"} 1429
antipode_media_held_seconds_bucket{le="0.003",node="node-77e4fda46b62ddb7",shard="0"} 2402
antipode_media_held_seconds_bucket{le="0.005",node="node-77e4fda46b62ddb7",shard="0"} 2542
antipode_media_held_seconds_bucket{le="0.01",node="node-77e4fda46b62ddb7",shard="0"} 2563
antipode_media_held_seconds_bucket{le="0.02",node="node-77e4fda46b62ddb7",shard="0"} 2563
antipode_media_held_seconds_bucket{le="0.05",node="node-77e4fda46b62ddb7",shard="0"} 2563
antipode_media_held_seconds_bucket{le="0.1",node="node-77e4fda46b62ddb7",shard="0"} 2563
antipode_media_held_seconds_bucket{le="+Inf",node="node-77e4fda46b62ddb7",shard="0"} 2563
# HELP antipode_hop_seconds Time of a parcel in the ring between two shards.
# TYPE antipode_hop_seconds histogram
antipode_hop_seconds_sum{node="node-77e4fda46b62ddb7",shard="0"} 0.0
antipode_hop_seconds_count{node="node-77e4fda46b62ddb7",shard="0"} 0
antipode_hop_seconds_bucket{le="0.00001",node="node-77e4fda46b62ddb7",shard="0"} 0
antipode_hop_seconds_bucket{le="0.00002",node="node-77e4fda46b62ddb7",shard="0"} 0
antipode_hop_seconds_bucket{le="0.00005",node="node-77e4fda46b62ddb7",shard="0"} 0
antipode_hop_seconds_bucket{le="0.0001",node="node-77e4fda46b62ddb7",shard="0"} 0
antipode_hop_seconds_bucket{le="0.0002",node="node-77e4fda46b62ddb7",shard="0"} 0
antipode_hop_seconds_bucket{le="0.0005",node="node-77e4fda46b62ddb7",shard="0"} 0
antipode_hop_seconds_bucket{le="0.001",node="node-77e4fda46b62ddb7",shard="0"} 0
antipode_hop_seconds_bucket{le="0.002",node="node-77e4fda46b62ddb7",shard="0"} 0
antipode_hop_seconds_bucket{le="0.003",node="node-77e4fda46b62ddb7",shard="0"} 0
antipode_hop_seconds_bucket{le="0.005",node="node-77e4fda46b62ddb7",shard="0"} 0
antipode_hop_seconds_bucket{le="0.01",node="node-77e4fda46b62ddb7",shard="0"} 0
antipode_hop_seconds_bucket{le="0.02",node="node-77e4fda46b62ddb7",shard="0"} 0
antipode_hop_seconds_bucket{le="0.05",node="node-77e4fda46b62ddb7",shard="0"} 0
antipode_hop_seconds_bucket{le="0.1",node="node-77e4fda46b62ddb7",shard="0"} 0
antipode_hop_seconds_bucket{le="+Inf",node="node-77e4fda46b62ddb7",shard="0"} 0
# HELP antipode_drops What went no further, by reason.
# TYPE antipode_drops counter
antipode_drops_total{node="node-77e4fda46b62ddb7",shard="0",reason="no_layer"} 0
antipode_drops_total{node="node-77e4fda46b62ddb7",shard="0",reason="pacer_full"} 0
antipode_drops_total{node="node-77e4fda46b62ddb7",shard="0",reason="paused"} 0
antipode_drops_total{node="node-77e4fda46b62ddb7",shard="0",reason="not_loudest"} 0
antipode_drops_total{node="node-77e4fda46b62ddb7",shard="0",reason="other_layer"} 0
antipode_drops_total{node="node-77e4fda46b62ddb7",shard="0",reason="not_connected"} 2482
antipode_drops_total{node="node-77e4fda46b62ddb7",shard="0",reason="starved"} 4490
antipode_drops_total{node="node-77e4fda46b62ddb7",shard="0",reason="outbox_full"} 0
antipode_drops_total{node="node-77e4fda46b62ddb7",shard="0",reason="data_backlog"} 0
antipode_drops_total{node="node-77e4fda46b62ddb7",shard="0",reason="stun_bad_integrity"} 0
antipode_drops_total{node="node-77e4fda46b62ddb7",shard="0",reason="ring_full"} 0
antipode_drops_total{node="node-77e4fda46b62ddb7",shard="0",reason="stun_unknown_ufrag"} 0
antipode_drops_total{node="node-77e4fda46b62ddb7",shard="0",reason="not_media"} 0
antipode_drops_total{node="node-77e4fda46b62ddb7",shard="0",reason="notice_full"} 0
antipode_drops_total{node="node-77e4fda46b62ddb7",shard="0",reason="unknown_address"} 0
antipode_drops_total{node="node-77e4fda46b62ddb7",shard="0",reason="oversized"} 0
antipode_drops_total{node="node-77e4fda46b62ddb7",shard="0",reason="not_ours"} 0
antipode_drops_total{node="node-77e4fda46b62ddb7",shard="0",reason="already_mended"} 0
antipode_drops_total{node="node-77e4fda46b62ddb7",shard="0",reason="unknown_ssrc"} 0
antipode_drops_total{node="node-77e4fda46b62ddb7",shard="0",reason="session_gone"} 0
antipode_drops_total{node="node-77e4fda46b62ddb7",shard="0",reason="session_refused"} 0
antipode_drops_total{node="node-77e4fda46b62ddb7",shard="0",reason="not_permitted"} 0
antipode_drops_total{node="node-77e4fda46b62ddb7",shard="0",reason="payload_malformed"} 0
antipode_drops_total{node="node-77e4fda46b62ddb7",shard="0",reason="descriptor_unread"} 0
antipode_drops_total{node="node-77e4fda46b62ddb7",shard="0",reason="data_refused"} 0
antipode_drops_total{node="node-77e4fda46b62ddb7",shard="0",reason="stun_malformed"} 0
antipode_drops_total{node="node-77e4fda46b62ddb7",shard="0",reason="no_track"} 0
antipode_drops_total{node="node-77e4fda46b62ddb7",shard="0",reason="other_shard"} 0
antipode_drops_total{node="node-77e4fda46b62ddb7",shard="0",reason="awaiting_keyframe"} 7882
antipode_drops_total{node="node-77e4fda46b62ddb7",shard="0",reason="codec_not_negotiated"} 0
antipode_drops_total{node="node-77e4fda46b62ddb7",shard="0",reason="parcel_unwanted"} 0
antipode_drops_total{node="node-77e4fda46b62ddb7",shard="0",reason="too_old"} 0
# HELP antipode_ring_depth Parcels waiting in the ring from a shard.
# TYPE antipode_ring_depth gauge
antipode_ring_depth{node="node-77e4fda46b62ddb7",shard="0",from="0"} 0
# HELP process_cpu_seconds CPU time of all threads.
# TYPE process_cpu_seconds counter
process_cpu_seconds_total{process="node",node="node-77e4fda46b62ddb7"} 1.383317
process_cpu_seconds_total{process="signal"} 0.25354
# HELP process_resident_memory_bytes Memory in use.
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes{process="node",node="node-77e4fda46b62ddb7"} 34975744
process_resident_memory_bytes{process="signal"} 17088512
# HELP process_context_switches Context switches of the threads that run now.
# TYPE process_context_switches counter
process_context_switches_total{process="node",node="node-77e4fda46b62ddb7",ctxswitchtype="voluntary"} 4254
process_context_switches_total{process="signal",ctxswitchtype="voluntary"} 1999
process_context_switches_total{process="node",node="node-77e4fda46b62ddb7",ctxswitchtype="nonvoluntary"} 718
process_context_switches_total{process="signal",ctxswitchtype="nonvoluntary"} 396
# HELP antipode_signal_clients WebSockets at the moment.
# TYPE antipode_signal_clients gauge
antipode_signal_clients 201
# HELP antipode_signal_members Members of all rooms.
# TYPE antipode_signal_members gauge
antipode_signal_members 201
# HELP antipode_signal_rooms Rooms.
# TYPE antipode_signal_rooms gauge
antipode_signal_rooms 1
# HELP antipode_signal_publishers_by_http Publishers by WHIP.
# TYPE antipode_signal_publishers_by_http gauge
antipode_signal_publishers_by_http 0
# HELP antipode_signal_players_by_http Players by WHEP.
# TYPE antipode_signal_players_by_http gauge
antipode_signal_players_by_http 0
# HELP antipode_signal_nodes Nodes with a control link.
# TYPE antipode_signal_nodes gauge
antipode_signal_nodes 1
# HELP antipode_signal_joins Members let in.
# TYPE antipode_signal_joins counter
antipode_signal_joins_total 201
# HELP antipode_signal_resumes WebSockets that took up their member.
# TYPE antipode_signal_resumes counter
antipode_signal_resumes_total 0
# HELP antipode_signal_resumes_unknown Resumes of nobody.
# TYPE antipode_signal_resumes_unknown counter
antipode_signal_resumes_unknown_total 0
# HELP antipode_signal_rebuilt Members found in snapshots.
# TYPE antipode_signal_rebuilt counter
antipode_signal_rebuilt_total 0
# HELP antipode_signal_refused Turned away or thrown out, by reason.
# TYPE antipode_signal_refused counter
antipode_signal_refused_total{reason="bad_message"} 0
antipode_signal_refused_total{reason="codec"} 0
antipode_signal_refused_total{reason="offer"} 0
antipode_signal_refused_total{reason="shards_full"} 0
antipode_signal_refused_total{reason="token"} 0
antipode_signal_refused_total{reason="no_node"} 0
antipode_signal_refused_total{reason="request"} 0
antipode_signal_refused_total{reason="permission"} 0
antipode_signal_refused_total{reason="clients_full"} 0
antipode_signal_refused_total{reason="type"} 0
antipode_signal_refused_total{reason="message_too_long"} 0
antipode_signal_refused_total{reason="slow_reader"} 0
antipode_signal_refused_total{reason="silent"} 0
antipode_signal_refused_total{reason="messages"} 0
antipode_signal_refused_total{reason="connects"} 0
antipode_signal_refused_total{reason="condition"} 0
antipode_signal_refused_total{reason="resource"} 0
# EOF
