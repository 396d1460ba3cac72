// The Python SDK with its own libwebrtc and a browser in one room.

import assert from 'node:assert/strict';

import { joinPage } from './lib/browser.mjs';
import { Peer } from './lib/peer.mjs';
import { scene } from './lib/scene.mjs';
import { pause, until } from './lib/wait.mjs';

const WATCH_MS = 5_000;
const COUNT = 20;

/** Frames a second of both; the cameras make 20. */
const FPS_MIN = 15;

const isReport = (row) => row.event === 'received';

async function mediaBothWays(alice, peer, note) {
  const { identity } = await peer.row('is in the room', (row) => row.event === 'in');
  await alice.seesAndHears(identity);
  await peer.row('sees and hears', (row) => row.width >= 640 && row.height >= 480 && row.energy > 0);
  const [page, python] = [await alice.from(identity), peer.rows.findLast(isReport)];
  await pause(WATCH_MS);
  const [pageNow, pythonNow] = [await alice.from(identity), peer.rows.findLast(isReport)];
  // A row of the peer may be half a second old: each end has its own clock, in ms and in seconds.
  const fps = (before, now, perSecond) => (now.frames - before.frames) / (now.at - before.at) * perSecond;
  const [pageFps, pythonFps] = [fps(page.video, pageNow.video, 1_000), fps(python, pythonNow, 1)];
  note(`page: ${pageFps.toFixed(1)} fps, python: ${pythonFps.toFixed(1)} fps`);
  note(`python's camera by layer: ${JSON.stringify([python.sent, pythonNow.sent])}`);
  assert.ok(pageFps >= FPS_MIN);
  assert.ok(pythonFps >= FPS_MIN);
  assert.ok(pageNow.audio.energy > page.audio.energy, 'the page hears nothing new');
  assert.ok(pythonNow.energy > python.energy, 'the peer hears nothing new');
}

async function dataBothWays(alice, peer) {
  await alice.keepPackets();
  for (const reliable of [true, false]) {
    const topic = reliable ? 'reliable' : 'lossy';
    const texts = Array.from({ length: COUNT }, (_, index) => `${topic} ${index}`);
    const enough = reliable ? COUNT : COUNT * 0.9;
    await alice.send(texts, { reliable, topic });
    for (const text of texts) peer.send({ text, reliable, topic });
    const came = (packets) => packets.filter((packet) => packet.topic === topic);
    await until(`the peer has the ${topic} ones`, () => came(peer.packets()).length >= enough);
    await until(`the page has the ${topic} ones`, async () => came(await alice.packets()).length >= enough);
    assert.ok(came(peer.packets()).every((packet) => packet.reliable === reliable));
    if (reliable) {
      assert.deepEqual(came(peer.packets()).map((packet) => packet.text), texts);
      assert.deepEqual(came(await alice.packets()).map((packet) => packet.text), texts);
    }
  }
}

scene('the Python SDK and a browser see, hear and write to each other', async (stage) => {
  const { server, browser, note } = stage;
  const alice = await joinPage(browser, server, { room: 'p', name: 'alice' });
  const peer = new Peer('call', server.url.replace('http', 'ws'), await server.token('p', 'python'));
  try {
    await mediaBothWays(alice, peer, note);
    await dataBothWays(alice, peer);
  } finally {
    await peer.leave();
  }
  await alice.until('sees that it left', () => window.antipode.room.remoteParticipants.size === 0);
});
