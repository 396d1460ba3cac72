// A publisher and a player by GStreamer's webrtcbin, which speaks no HTTP here: it writes its offer to
// standard output and reads the answer from standard input, each ended by a line with a single dot.
//
//   peer publish vp8|h264   sends a plain colour and a tone
//   peer play vp8|h264      receives, and writes a line of JSON for every tenth picture: how many there
//                           were, the averages of the last one's planes, and the pitch of the sound
//
// Its certificate is the one that GStreamer makes, with an RSA key.
// It ends when its standard input does.

#include <stdio.h>
#include <string.h>

#include <gst/gst.h>
#include <gst/video/video.h>
#define GST_USE_UNSTABLE_API
#include <gst/webrtc/webrtc.h>

#define TOLD_EVERY 10
#define ANSWER_MAX 65536
#define SAMPLE_RATE 48000

// The colour is one that no decoder makes by itself: an empty picture is black, green or grey.
#define SOURCES                                                                                  \
  "webrtcbin name=peer bundle-policy=max-bundle "                                                \
  "audiotestsrc is-live=true freq=440 ! audio/x-raw,rate=48000,channels=2 ! opusenc ! "          \
  "rtpopuspay pt=111 ! application/x-rtp,media=audio,encoding-name=OPUS,payload=111 ! peer. "    \
  "videotestsrc is-live=true pattern=solid-color foreground-color=0xffc02060 ! "                 \
  "video/x-raw,width=320,height=240,framerate=15/1,format=I420 ! "

#define VP8                                                                                      \
  "vp8enc deadline=1 keyframe-max-dist=30 target-bitrate=300000 ! rtpvp8pay pt=96 "              \
  "picture-id-mode=15-bit ! application/x-rtp,media=video,encoding-name=VP8,payload=96 ! peer."

#define H264                                                                                     \
  "x264enc tune=zerolatency speed-preset=ultrafast threads=1 key-int-max=30 bitrate=300 ! "      \
  "video/x-h264,profile=constrained-baseline ! rtph264pay pt=96 config-interval=-1 "             \
  "aggregate-mode=zero-latency ! application/x-rtp,media=video,encoding-name=H264,payload=96 ! peer."

#define SEE " ! videoconvert ! video/x-raw,format=I420 ! fakesink name=end signal-handoffs=true"
#define DECODE_VP8 "rtpvp8depay ! vp8dec" SEE
#define DECODE_H264 "rtph264depay ! h264parse ! openh264dec" SEE
#define DECODE_OPUS                                                                              \
  "rtpopusdepay ! opusdec ! audioconvert ! audioresample ! "                                     \
  "audio/x-raw,format=S16LE,channels=1,rate=48000 ! fakesink name=end signal-handoffs=true"

static GstElement *pipeline, *peer;
static GMainLoop *loop;
static gboolean plays, is_h264, is_offered;
static int exit_code;
static GString *answer;
// Of the sound: how often it rose through zero in so many samples, from which follows its pitch.
static gint rises, samples;

static void fail(const char *what) {
  fprintf(stderr, "%s\n", what);
  exit_code = 1;
  g_main_loop_quit(loop);
}

// --- What is played ---

static void see(GstElement *sink, GstBuffer *buffer, GstPad *pad, gpointer data) {
  static int pictures;
  GstCaps *caps = gst_pad_get_current_caps(pad);
  GstVideoInfo info;
  GstVideoFrame frame;
  gboolean is_known = caps && gst_video_info_from_caps(&info, caps);
  if (caps) gst_caps_unref(caps);
  if (!is_known || !gst_video_frame_map(&frame, &info, buffer, GST_MAP_READ)) return fail("no picture");
  double averages[3];
  for (int plane = 0; plane < 3; plane += 1) {
    const guint8 *bytes = GST_VIDEO_FRAME_COMP_DATA(&frame, plane);
    int width = GST_VIDEO_FRAME_COMP_WIDTH(&frame, plane);
    int height = GST_VIDEO_FRAME_COMP_HEIGHT(&frame, plane);
    int stride = GST_VIDEO_FRAME_COMP_STRIDE(&frame, plane);
    guint64 sum = 0;
    for (int y = 0; y < height; y += 1)
      for (int x = 0; x < width; x += 1) sum += bytes[y * stride + x];
    averages[plane] = (double)sum / ((double)width * height);
  }
  pictures += 1;
  if (pictures % TOLD_EVERY == 0) {
    int count = g_atomic_int_get(&samples);
    double pitch = count ? (double)g_atomic_int_get(&rises) * SAMPLE_RATE / count : 0;
    printf("{\"event\":\"received\",\"pictures\":%d,\"width\":%d,\"height\":%d,"
           "\"y\":%.1f,\"u\":%.1f,\"v\":%.1f,\"toneHz\":%.0f}\n",
           pictures, info.width, info.height, averages[0], averages[1], averages[2], pitch);
    fflush(stdout);
  }
  gst_video_frame_unmap(&frame);
}

static void hear(GstElement *sink, GstBuffer *buffer, GstPad *pad, gpointer data) {
  static gint16 last;
  GstMapInfo map;
  if (!gst_buffer_map(buffer, &map, GST_MAP_READ)) return fail("no sound");
  const gint16 *sound = (const gint16 *)map.data;
  gsize count = map.size / sizeof *sound;
  for (gsize at = 0; at < count; at += 1) {
    if (last < 0 && sound[at] >= 0) g_atomic_int_inc(&rises);
    last = sound[at];
  }
  // What was silent or made up at the beginning has no say in the pitch of what follows.
  if (g_atomic_int_add(&samples, (gint)count) > SAMPLE_RATE) {
    g_atomic_int_set(&samples, 0);
    g_atomic_int_set(&rises, 0);
  }
  gst_buffer_unmap(buffer, &map);
}

// A stream comes in: it is decoded, and ends in one of the two above.
static void on_pad(GstElement *element, GstPad *pad, gpointer data) {
  if (GST_PAD_DIRECTION(pad) != GST_PAD_SRC) return;
  GstCaps *caps = gst_pad_get_current_caps(pad);
  if (!caps) caps = gst_pad_query_caps(pad, NULL);
  const char *media = gst_structure_get_string(gst_caps_get_structure(caps, 0), "media");
  gboolean is_video = media && strcmp(media, "video") == 0;
  gst_caps_unref(caps);
  const char *words = !is_video ? DECODE_OPUS : is_h264 ? DECODE_H264 : DECODE_VP8;
  GError *error = NULL;
  GstElement *bin = gst_parse_bin_from_description(words, TRUE, &error);
  if (!bin) return fail(error->message);
  GstElement *end = gst_bin_get_by_name(GST_BIN(bin), "end");
  g_signal_connect(end, "handoff", is_video ? G_CALLBACK(see) : G_CALLBACK(hear), NULL);
  gst_object_unref(end);
  gst_bin_add(GST_BIN(pipeline), bin);
  gst_element_sync_state_with_parent(bin);
  GstPad *sink = gst_element_get_static_pad(bin, "sink");
  if (gst_pad_link(pad, sink) != GST_PAD_LINK_OK) fail("a stream cannot be decoded");
  gst_object_unref(sink);
}

// --- Offer and answer ---

// Says the offer once, when it is complete with candidates.
static void on_gathered(GstElement *element, GParamSpec *spec, gpointer data) {
  GstWebRTCICEGatheringState state;
  g_object_get(peer, "ice-gathering-state", &state, NULL);
  if (state != GST_WEBRTC_ICE_GATHERING_STATE_COMPLETE || is_offered) return;
  is_offered = TRUE;
  GstWebRTCSessionDescription *offer = NULL;
  g_object_get(peer, "local-description", &offer, NULL);
  char *text = gst_sdp_message_as_text(offer->sdp);
  printf("%s.\n", text);
  fflush(stdout);
  g_free(text);
  gst_webrtc_session_description_free(offer);
}

static void on_offer(GstPromise *promise, gpointer data) {
  GstWebRTCSessionDescription *offer = NULL;
  const GstStructure *reply = gst_promise_get_reply(promise);
  gst_structure_get(reply, "offer", GST_TYPE_WEBRTC_SESSION_DESCRIPTION, &offer, NULL);
  gst_promise_unref(promise);
  if (!offer) return fail("no offer");
  g_signal_emit_by_name(peer, "set-local-description", offer, NULL);
  gst_webrtc_session_description_free(offer);
}

static void on_negotiation(GstElement *element, gpointer data) {
  GArray *all;
  g_signal_emit_by_name(peer, "get-transceivers", &all);
  for (guint at = 0; at < all->len; at += 1) {
    // A pad for sending makes one that would receive too.
    GstWebRTCRTPTransceiverDirection way = plays ? GST_WEBRTC_RTP_TRANSCEIVER_DIRECTION_RECVONLY
                                                 : GST_WEBRTC_RTP_TRANSCEIVER_DIRECTION_SENDONLY;
    g_object_set(g_array_index(all, GstWebRTCRTPTransceiver *, at), "direction", way, NULL);
  }
  g_array_unref(all);
  GstPromise *promise = gst_promise_new_with_change_func(on_offer, NULL, NULL);
  g_signal_emit_by_name(peer, "create-offer", NULL, promise);
}

static void take_answer(void) {
  GstSDPMessage *sdp;
  if (gst_sdp_message_new_from_text(answer->str, &sdp) != GST_SDP_OK) return fail("no answer");
  GstWebRTCSessionDescription *description =
      gst_webrtc_session_description_new(GST_WEBRTC_SDP_TYPE_ANSWER, sdp);
  g_signal_emit_by_name(peer, "set-remote-description", description, NULL);
  gst_webrtc_session_description_free(description);
}

static gboolean on_input(GIOChannel *channel, GIOCondition condition, gpointer data) {
  char *line = NULL;
  if (g_io_channel_read_line(channel, &line, NULL, NULL, NULL) != G_IO_STATUS_NORMAL) {
    g_main_loop_quit(loop);
    return FALSE;
  }
  if (strcmp(line, ".\n") == 0) take_answer();
  else if (answer->len + strlen(line) > ANSWER_MAX) fail("the answer is too long");
  else g_string_append(answer, line);
  g_free(line);
  return TRUE;
}

static gboolean on_message(GstBus *bus, GstMessage *message, gpointer data) {
  if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR) {
    GError *error = NULL;
    gst_message_parse_error(message, &error, NULL);
    fail(error->message);
    g_error_free(error);
  }
  return TRUE;
}

// --- The pipeline ---

static void receive(const char *words) {
  GstCaps *caps = gst_caps_from_string(words);
  GstWebRTCRTPTransceiver *transceiver;
  g_signal_emit_by_name(peer, "add-transceiver", GST_WEBRTC_RTP_TRANSCEIVER_DIRECTION_RECVONLY, caps,
                        &transceiver);
  gst_object_unref(transceiver);
  gst_caps_unref(caps);
}

int main(int argc, char **argv) {
  gst_init(&argc, &argv);
  if (argc != 3) {
    fprintf(stderr, "peer publish|play vp8|h264\n");
    return 2;
  }
  plays = strcmp(argv[1], "play") == 0;
  is_h264 = strcmp(argv[2], "h264") == 0;
  loop = g_main_loop_new(NULL, FALSE);
  answer = g_string_new(NULL);
  GError *error = NULL;
  if (plays) {
    pipeline = gst_pipeline_new(NULL);
    peer = gst_element_factory_make("webrtcbin", "peer");
    if (!peer) return 3;
    g_object_set(peer, "bundle-policy", GST_WEBRTC_BUNDLE_POLICY_MAX_BUNDLE, NULL);
    gst_bin_add(GST_BIN(pipeline), gst_object_ref(peer));
  } else {
    pipeline = gst_parse_launch(is_h264 ? SOURCES H264 : SOURCES VP8, &error);
    if (!pipeline || error) {
      fprintf(stderr, "%s\n", error->message);
      return 3;
    }
    peer = gst_bin_get_by_name(GST_BIN(pipeline), "peer");
  }
  // It asks for an offer already when the first of a player's transceivers is there.
  if (!plays) g_signal_connect(peer, "on-negotiation-needed", G_CALLBACK(on_negotiation), NULL);
  g_signal_connect(peer, "notify::ice-gathering-state", G_CALLBACK(on_gathered), NULL);
  g_signal_connect(peer, "pad-added", G_CALLBACK(on_pad), NULL);
  // It leaves the loopback interface out, and a machine for tests may have no other.
  GObject *ice;
  gboolean is_added;
  g_object_get(peer, "ice-agent", &ice, NULL);
  g_signal_emit_by_name(ice, "add-local-ip-address", "127.0.0.1", &is_added);
  g_object_unref(ice);
  GstBus *bus = gst_element_get_bus(pipeline);
  gst_bus_add_watch(bus, on_message, NULL);
  gst_object_unref(bus);
  GIOChannel *input = g_io_channel_unix_new(0);
  g_io_add_watch(input, G_IO_IN | G_IO_HUP, on_input, NULL);
  if (plays) {
    gst_element_set_state(pipeline, GST_STATE_READY);
    receive("application/x-rtp,media=audio,encoding-name=OPUS,payload=111,clock-rate=48000,"
            "encoding-params=(string)2");
    receive(is_h264 ? "application/x-rtp,media=video,encoding-name=H264,payload=96,clock-rate=90000"
                    : "application/x-rtp,media=video,encoding-name=VP8,payload=96,clock-rate=90000");
  }
  gst_element_set_state(pipeline, GST_STATE_PLAYING);
  if (plays) on_negotiation(peer, NULL);
  g_main_loop_run(loop);
  gst_element_set_state(pipeline, GST_STATE_NULL);
  return exit_code;
}
