// Every codec that a browser sends reaches another one, and the layers within a stream can be told apart.

import assert from 'node:assert/strict';

import { joinPage } from './lib/browser.mjs';
import { scene } from './lib/scene.mjs';
import { pause } from './lib/wait.mjs';

const WIDTH = 640;
const HEIGHT = 360;
/** How long a picture is watched. */
const WATCH_MS = 4_000;
/** Encoders of a busy machine without a graphics card are slow. */
const FPS_MIN = 10;
/** The longest wait for a frame while the picture becomes smaller. */
const FREEZE_MS_MAX = 300;
/** VideoQuality of the SDK. */
const LOW = 0;
const HIGH = 2;

/** Lets the server say what it hears of layers. */
process.env.ANTIPODE_LOG = 'info,antipode_core::forward::rates=debug';

/** Has a page negotiate the extension by which it announces its layers: Chromium does when it is told to. */
function announceLayers(page) {
  return page.addInitScript(() => {
    const { createOffer } = RTCPeerConnection.prototype;
    RTCPeerConnection.prototype.createOffer = function offer(...words) {
      for (const transceiver of this.getTransceivers()) {
        const extensions = transceiver.getHeaderExtensionsToNegotiate();
        for (const one of extensions) {
          if (one.uri.endsWith('/video-layers-allocation00')) one.direction = 'sendrecv';
        }
        transceiver.setHeaderExtensionsToNegotiate(extensions);
      }
      return createOffer.apply(this, words);
    };
  });
}

/** Alice sends her camera so; Bob, who sends nothing, sees it at its full size. */
async function publish({ server, browser }, options, prepare) {
  const bob = await joinPage(browser, server, { room: 'c', name: 'bob', camera: '0', microphone: '0' });
  const alice = await joinPage(browser, server, { room: 'c', name: 'alice', camera: '0', microphone: '0', prepare });
  await alice.page.evaluate(async ([width, height, how]) => {
    const capture = { resolution: { width, height, frameRate: 30 } };
    await window.antipode.room.localParticipant.setCameraEnabled(true, capture, { backupCodec: false, ...how });
  }, [WIDTH, HEIGHT, options]);
  const identity = await alice.identity();
  await bob.until('has the full picture', async ([width, who]) => {
    const rows = await window.antipode.stats();
    const row = rows.find((one) => !one.local && one.kind === 'video' && one.identity === who);
    if (!(row?.width >= width)) throw new Error(JSON.stringify(row));
    return true;
  }, [WIDTH, identity], 30_000);
  return { bob, identity };
}

/** Frames per second that Bob decodes, and what of. */
async function watch(bob, identity) {
  const then = (await bob.from(identity)).video;
  await pause(WATCH_MS);
  const now = (await bob.from(identity)).video;
  const seconds = (now.at - then.at) / 1000;
  return {
    fps: (now.frames - then.frames) / seconds,
    kbps: ((now.bytes - then.bytes) * 8) / 1000 / seconds,
    width: now.width,
    codec: now.codec,
  };
}

function describe({ fps, kbps, width, codec }) {
  return `${codec}, ${fps.toFixed(1)} fps, ${width} wide, ${kbps.toFixed(0)} kbit/s`;
}

/** Bob asks for a smaller or larger picture and gets it. */
async function ask(bob, quality) {
  const from = performance.now();
  await bob.page.evaluate((wanted) => {
    const [alice] = window.antipode.room.remoteParticipants.values();
    [...alice.videoTrackPublications.values()][0].setVideoQuality(wanted);
  }, quality);
  await bob.until(`has quality ${quality}`, async ([full, isLow]) => {
    const rows = await window.antipode.stats();
    const row = rows.find((one) => !one.local && one.kind === 'video');
    return (row.width < full) === isLow;
  }, [WIDTH, quality === LOW]);
  return performance.now() - from;
}

for (const videoCodec of ['vp8', 'h264', 'vp9', 'av1']) {
  scene(`${videoCodec} of one page is decoded in another`, async (stage) => {
    const { bob, identity } = await publish(stage, { videoCodec });
    const seen = await watch(bob, identity);
    stage.note(describe(seen));
    assert.match(seen.codec.toLowerCase(), new RegExp(videoCodec));
    assert.ok(seen.fps >= FPS_MIN, describe(seen));
  });
}

scene('av1 without spatial layers is decoded too', async (stage) => {
  const { bob, identity } = await publish(stage, { videoCodec: 'av1', scalabilityMode: 'L1T3' });
  const seen = await watch(bob, identity);
  stage.note(describe(seen));
  assert.ok(seen.fps >= FPS_MIN, describe(seen));
});

for (const videoCodec of ['vp9', 'av1']) {
  scene(`a smaller picture of ${videoCodec} comes at once, a larger one comes back`, async (stage) => {
    const { bob, identity } = await publish(stage, { videoCodec, scalabilityMode: 'L3T3_KEY' });
    await bob.noteFrames(identity);
    const smallMs = await ask(bob, LOW);
    const small = await watch(bob, identity);
    const { longest } = await bob.pauses();
    stage.note(`${describe(small)} after ${smallMs.toFixed(0)} ms, longest wait ${longest.toFixed(0)} ms`);
    assert.ok(small.fps >= FPS_MIN, describe(small));
    assert.ok(longest <= FREEZE_MS_MAX, `no frame for ${longest} ms`);
    const largeMs = await ask(bob, HIGH);
    const large = await watch(bob, identity);
    stage.note(`${describe(large)} after ${largeMs.toFixed(0)} ms`);
    assert.ok(large.fps >= FPS_MIN, describe(large));
  });
}

scene('layers that a page announces are believed before they are measured', async (stage) => {
  const { bob, identity } = await publish(stage, { videoCodec: 'vp8', simulcast: true }, announceLayers);
  const said = stage.server.log.filter((line) => line.includes('layers are announced'));
  stage.note(said[0]?.replace(/\x1b\[[0-9;]*m/g, '') ?? 'nothing');
  // Of two layers at least, so many bits a second.
  assert.ok(said.some((line) => (line.match(/\[[1-9][0-9]{4,}\./g) ?? []).length >= 2), said.join('\n'));
  const seen = await watch(bob, identity);
  assert.ok(seen.fps >= FPS_MIN, describe(seen));
});
