// The page that publishes by WHIP: the camera or a screen, with one request.

import { Session, byId, run } from './stream.js';

/** A quarter, a half, all of it. */
const RUNGS = [
  { rid: 'q', scaleResolutionDownBy: 4, maxBitrate: 150_000 },
  { rid: 'h', scaleResolutionDownBy: 2, maxBitrate: 500_000 },
  { rid: 'f', maxBitrate: 2_500_000 },
];

const isScreen = () => byId('screen').checked;
const path = () => `whip/${encodeURIComponent(byId('room').value.trim())}${isScreen() ? '?source=screen' : ''}`;

async function begin(token) {
  const stream = isScreen()
    ? await navigator.mediaDevices.getDisplayMedia({ video: true, audio: true })
    : await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 1280, height: 720 } });
  byId('video').srcObject = stream;
  const pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
  const session = new Session(pc, token);
  const { end } = session;
  session.end = () => {
    for (const track of stream.getTracks()) track.stop();
    return end.call(session);
  };
  try {
    for (const track of stream.getTracks()) {
      const sendEncodings = track.kind === 'video' && byId('simulcast').checked && !isScreen() ? RUNGS : undefined;
      pc.addTransceiver(track, { direction: 'sendonly', streams: [stream], sendEncodings });
    }
    await session.begin(path());
  } catch (error) {
    await session.end();
    throw error;
  }
  return session;
}

function recipes(token) {
  const url = new URL(path(), location.href).href;
  return [
    ['OBS: Settings, Stream, Service WHIP', `Server        ${url}\nBearer Token  ${token}`],
    ['ffmpeg 8 or newer', `ffmpeg -re -stream_loop -1 -i video.mp4 \\
  -c:v libx264 -profile:v baseline -tune zerolatency -bf 0 -g 60 \\
  -c:a libopus -ar 48000 -ac 2 \\
  -f whip -authorization "${token}" "${url}"`],
    ['GStreamer with the plugin webrtchttp of gst-plugins-rs', `gst-launch-1.0 \\
  whipsink name=out whip-endpoint="${url}" auth-token="${token}" \\
  videotestsrc is-live=true ! vp8enc deadline=1 keyframe-max-dist=60 ! rtpvp8pay picture-id-mode=15-bit ! \\
  "application/x-rtp,media=video,encoding-name=VP8,payload=96,clock-rate=90000" ! out. \\
  audiotestsrc is-live=true ! "audio/x-raw,rate=48000,channels=2" ! opusenc ! rtpopuspay ! \\
  "application/x-rtp,media=audio,encoding-name=OPUS,payload=97,clock-rate=48000,encoding-params=(string)2" ! out.`],
    ['A page', `const url = '${url}';
const pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
for (const track of stream.getTracks()) pc.addTransceiver(track, { direction: 'sendonly', streams: [stream] });
await pc.setLocalDescription(await pc.createOffer());
const answer = await fetch(url, {
  method: 'POST',
  headers: { 'content-type': 'application/sdp', authorization: 'Bearer ${token}' },
  body: pc.localDescription.sdp,
});
await pc.setRemoteDescription({ type: 'answer', sdp: await answer.text() });
const session = new URL(answer.headers.get('location'), url); // DELETE ends it`],
  ];
}

run({ begin, recipes, idle: 'Not publishing.' });
