// WHIP and WHEP by a peer that somebody else wrote, with a WebRTC of its own: aiortc, in Python. What it
// sends is recognised where it arrives.

import assert from 'node:assert/strict';

import { joinPage } from './lib/browser.mjs';
import { patternFiles, seesTheSame, showsTheSame } from './lib/pattern.mjs';
import { AioPeer } from './lib/peer.mjs';
import { scene } from './lib/scene.mjs';
import { until } from './lib/wait.mjs';

const file = patternFiles();

const endpoint = (server, way, room) => `${server.url}/${way}/${room}`;

/** Lets some people in, one after the other, and out again when `play` is through. */
async function withPeers(play) {
  const peers = [];
  const enter = async (...args) => {
    const peer = new AioPeer(...args);
    peers.push(peer);
    await peer.row('is connected', (row) => row.event === 'connected');
    return peer;
  };
  try {
    await play(enter);
  } finally {
    await Promise.all(peers.map((peer) => peer.leave()));
  }
  for (const peer of peers) assert.equal(peer.rows.find((row) => row.event === 'deleted')?.status, 200);
}

async function there(server, room, enter, name, ...how) {
  const publisher = await server.token(room, 'publisher');
  await enter('publish', endpoint(server, 'whip', room), publisher, file(name), ...how);
  return enter('play', endpoint(server, 'whep', room), await server.token(room, 'player'));
}

scene('aiortc publishes VP8 and a page with the SDK shows the same, as aiortc does', async (stage) => {
  const { server, browser, note } = stage;
  await withPeers(async (enter) => {
    const player = await there(server, 'vp8', enter, 'vp8.webm');
    // One on each of the two.
    for (const shard of ['0', '1']) {
      await until(`one is on shard ${shard}`, async () => (await server.metric('antipode_sessions', { shard })) === 1);
    }
    const guest = await joinPage(browser, server, { room: 'vp8', name: 'ann', camera: '0', microphone: '0' });
    const [identity] = await guest.page.evaluate(() => (
      [...window.antipode.room.remoteParticipants.values()].map((one) => one.identity)
    ));
    await guest.seesAndHears(identity, 320, 240);
    const shown = await showsTheSame(guest.page, `.tile[data-identity="${identity}"] video`);
    note(`page: ${JSON.stringify(shown)}`);
    await seesTheSame(player, { note });
  });
  await until('nobody but the page is left', async () => (await server.metric('antipode_sessions')) <= 1);
});

scene('aiortc publishes H264 as it is in the file, and plays it', async ({ server, note }) => {
  await withPeers(async (enter) => {
    await seesTheSame(await there(server, 'h264', enter, 'h264.ts', 'copied'), { note });
  });
  await until('nobody is left', async () => (await server.metric('antipode_sessions')) === 0);
});

scene('aiortc plays what a page with the SDK publishes', async ({ server, another, note }) => {
  const browser = await another(
    `--use-file-for-fake-video-capture=${file('camera.mjpeg')}`,
    `--use-file-for-fake-audio-capture=${file('microphone.wav')}`,
  );
  const ann = await joinPage(browser, server, { room: 'sdk', name: 'ann' });
  await withPeers(async (enter) => {
    const who = await ann.identity();
    const url = endpoint(server, 'whep', `sdk/${encodeURIComponent(who)}`);
    const player = await enter('play', url, await server.token('sdk', 'player'));
    await seesTheSame(player, { note, width: 160 });
  });
});
