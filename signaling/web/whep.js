// The page that plays by WHEP: a room or one of its participants, with its layers to choose from.

import { Session, byId, run } from './stream.js';

const AUDIO_SECTIONS = { top: 1, all: 6, none: 0 };

function path() {
  const parts = [byId('room').value.trim(), byId('of').value.trim()].filter(Boolean);
  const query = byId('audio').value === 'top' ? '' : `?audio=${byId('audio').value}`;
  return `whep/${parts.map(encodeURIComponent).join('/')}${query}`;
}

/** Layers as the server tells of them. */
function listen(session) {
  const url = session.links['server-sent-events'];
  // An EventSource sends no headers.
  url.searchParams.set('access_token', session.token);
  const events = new EventSource(url);
  events.addEventListener('layers', ({ data }) => {
    const [layers] = Object.values(JSON.parse(data));
    const names = layers.map((layer) => layer.rid).filter(Boolean);
    const place = byId('layer');
    const chosen = place.value;
    place.replaceChildren(new Option('automatic', ''), ...names.map((name) => new Option(name, name)));
    place.value = names.includes(chosen) ? chosen : '';
  });
  events.addEventListener('viewercount', ({ data }) => {
    byId('state').textContent = `${JSON.parse(data).viewercount} watching.`;
  });
  events.addEventListener('inactive', () => { byId('state').textContent = 'Nobody publishes.'; });
  return events;
}

async function begin(token, link) {
  if (link.get('participant') && !byId('of').value) byId('of').value = link.get('participant');
  const pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
  const session = new Session(pc, token);
  for (let n = 0; n < AUDIO_SECTIONS[byId('audio').value]; n += 1) pc.addTransceiver('audio', { direction: 'recvonly' });
  pc.addTransceiver('video', { direction: 'recvonly' });
  pc.addEventListener('track', ({ streams }) => { byId('video').srcObject = streams[0]; });
  await session.begin(path());
  const events = listen(session);
  const { end } = session;
  session.end = () => {
    events.close();
    return end.call(session);
  };
  byId('layer').onchange = () => {
    const rid = byId('layer').value;
    session.ask('POST', session.links.layer, 'application/json', JSON.stringify(rid ? { rid } : {}));
  };
  return session;
}

function recipes(token) {
  const url = new URL(path(), location.href).href;
  return [
    ['Any WHEP player', `${url}\nBearer token: ${token}`],
    ['A player that sends no headers', `${url}${url.includes('?') ? '&' : '?'}access_token=${token}`],
    ['GStreamer with the plugin webrtchttp of gst-plugins-rs, a publisher of VP8', `gst-launch-1.0 \\
  whepsrc name=in whep-endpoint="${url}" auth-token="${token}" \\
  video-caps="application/x-rtp,media=video,encoding-name=VP8,payload=96,clock-rate=90000" \\
  audio-caps="application/x-rtp,media=audio,encoding-name=OPUS,payload=97,clock-rate=48000,encoding-params=(string)2" \\
  in. ! "application/x-rtp,media=video" ! rtpvp8depay ! vp8dec ! videoconvert ! autovideosink \\
  in. ! "application/x-rtp,media=audio" ! rtpopusdepay ! opusdec ! audioconvert ! autoaudiosink`],
    ['A page', `const url = '${url}';
const pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
for (const kind of ['audio', 'video']) pc.addTransceiver(kind, { direction: 'recvonly' });
pc.ontrack = ({ streams }) => { document.querySelector('video').srcObject = streams[0]; };
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

run({ begin, recipes, idle: 'Not playing.' });
