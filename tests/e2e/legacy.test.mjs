// Clients that do as was done before: a simulcast whose layers are named by their SSRCs, and the sound
// of the telephone.

import assert from 'node:assert/strict';

import { joinPage } from './lib/browser.mjs';
import { scene } from './lib/scene.mjs';
import { pause } from './lib/wait.mjs';

const HEIGHT = 720;
/** How long a picture is watched, and frames per second that are enough. */
const WATCH_MS = 4_000;
const FPS_MIN = 8;
/** VideoQuality of the SDK. */
const [LOW, HIGH] = [0, 2];
const SILENT = { room: 'l', camera: '0', microphone: '0' };

/**
 * Runs in the page before all else: a section that sends pictures gets two more SSRCs of each kind in
 * the offer, as clients wrote it themselves before there were rids.
 */
function nameLayersBySsrc() {
  const { addTransceiver, createOffer } = RTCPeerConnection.prototype;
  // The SDK tells the server of three layers, and the browser makes them of one without a rid.
  RTCPeerConnection.prototype.addTransceiver = function addPlain(track, options) {
    return addTransceiver.call(this, track, { ...options, sendEncodings: undefined });
  };
  const known = new Map();
  const munge = (section) => {
    const group = /^a=ssrc-group:FID (\d+) (\d+)\r\n/m.exec(section);
    if (!section.startsWith('video') || !group) return section;
    const [line, media, repair] = group;
    if (!known.has(media)) {
      const more = (from) => [0, 1, 2].map((layer) => (Number(from) + layer) >>> 0);
      known.set(media, { media: more(media), repair: more(repair) });
    }
    const all = known.get(media);
    const attributes = section.match(/^a=ssrc:\d+ .*\r\n/mg);
    const rest = section.replace(line, '').replace(/^a=ssrc:\d+ .*\r\n/mg, '');
    const of = (from, ssrc) => {
      return attributes.filter((one) => one.startsWith(`a=ssrc:${from} `))
        .map((one) => one.replace(from, ssrc)).join('');
    };
    return `${rest}a=ssrc-group:SIM ${all.media.join(' ')}\r\n${all.media.map((ssrc, layer) => {
      return `a=ssrc-group:FID ${ssrc} ${all.repair[layer]}\r\n${of(media, ssrc)}${of(repair, all.repair[layer])}`;
    }).join('')}`;
  };
  RTCPeerConnection.prototype.createOffer = async function createMunged(...words) {
    const { type, sdp } = await createOffer.apply(this, words);
    const sections = sdp.split(/^m=/m);
    return { type, sdp: sections.map((section, at) => (at > 0 ? munge(section) : section)).join('m=') };
  };
}

/** The same: a microphone's section offers this codec alone, at its own bitrate. */
function speakOnly(name) {
  const { addTransceiver } = RTCPeerConnection.prototype;
  RTCPeerConnection.prototype.addTransceiver = function addChosen(track, options) {
    if (track.kind !== 'audio') return addTransceiver.call(this, track, options);
    const transceiver = addTransceiver.call(this, track, { ...options, sendEncodings: undefined });
    const { codecs } = RTCRtpSender.getCapabilities('audio');
    transceiver.setCodecPreferences(codecs.filter((one) => one.mimeType === `audio/${name}`));
    return transceiver;
  };
}

/** The sizes of such layers, which are all as large as the camera's picture at first. */
async function scaleLayers() {
  const { sender } = [...window.antipode.room.localParticipant.videoTrackPublications.values()][0].track;
  const parameters = sender.getParameters();
  if (parameters.encodings.length !== 3) throw new Error(`${parameters.encodings.length} layers are sent`);
  parameters.encodings.forEach((encoding, layer) => { encoding.scaleResolutionDownBy = 4 / 2 ** layer; });
  await sender.setParameters(parameters);
}

/** Bob asks for a smaller or larger picture and gets it. */
async function ask(bob, quality, fits) {
  await bob.page.evaluate((wanted) => {
    const [alice] = window.antipode.room.remoteParticipants.values();
    [...alice.videoTrackPublications.values()][0].setVideoQuality(wanted);
  }, quality);
  await bob.until(`has quality ${quality}`, async (heights) => {
    const row = (await window.antipode.stats()).find((one) => !one.local && one.kind === 'video');
    if (!heights.includes(row?.height)) throw new Error(JSON.stringify(row));
    return true;
  }, fits);
}

/** Frames per second that Bob decodes. */
async function fps(bob, identity) {
  const then = (await bob.from(identity)).video;
  await pause(WATCH_MS);
  const now = (await bob.from(identity)).video;
  return ((now.frames - then.frames) * 1000) / (now.at - then.at);
}

scene('a simulcast by SSRC groups has layers to choose from', async ({ server, browser, note }) => {
  const prepare = (page) => page.addInitScript(nameLayersBySsrc);
  const bob = await joinPage(browser, server, { ...SILENT, name: 'bob' });
  const alice = await joinPage(browser, server, { ...SILENT, name: 'alice', prepare });
  await alice.page.evaluate(async (height) => {
    const capture = { resolution: { width: (height * 16) / 9, height, frameRate: 30 } };
    await window.antipode.room.localParticipant.setCameraEnabled(true, capture, {
      videoCodec: 'vp8', simulcast: true, backupCodec: false,
    });
  }, HEIGHT);
  await alice.page.evaluate(scaleLayers);
  const identity = await alice.identity();
  await ask(bob, HIGH, [HEIGHT]);
  const large = await fps(bob, identity);
  await ask(bob, LOW, [HEIGHT / 4]);
  const small = await fps(bob, identity);
  await ask(bob, HIGH, [HEIGHT]);
  note(`${large.toFixed(1)} fps of the large picture, ${small.toFixed(1)} of the small one`);
  assert.ok(large >= FPS_MIN && small >= FPS_MIN, `${large} ${small}`);
});

for (const codec of ['PCMU', 'PCMA']) {
  scene(`${codec} of one page is heard in another`, async ({ server, browser, note }) => {
    const prepare = (page) => page.addInitScript(speakOnly, codec);
    const bob = await joinPage(browser, server, { ...SILENT, name: 'bob' });
    const alice = await joinPage(browser, server, {
      ...SILENT, name: 'alice', microphone: '1', prepare,
    });
    const identity = await alice.identity();
    const heard = async () => (await bob.from(identity)).audio;
    await bob.until('hears', async () => {
      return (await window.antipode.stats()).some((one) => !one.local && one.energy > 0);
    });
    const then = await heard();
    await pause(WATCH_MS);
    const now = await heard();
    const grown = { packets: now.packets - then.packets, energy: now.energy - then.energy };
    note(`${now.codec}: ${JSON.stringify(grown)}`);
    assert.match(now.codec, new RegExp(codec));
    assert.ok(grown.packets > 100 && grown.energy > 0.001, JSON.stringify(grown));
    assert.equal(now.lost, 0);
  });
}
