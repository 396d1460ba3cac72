// Two and three people in one room, each on a shard of their own, see and hear one another.

import assert from 'node:assert/strict';

import { joinPage } from './lib/browser.mjs';
import { scene } from './lib/scene.mjs';
import { pause } from './lib/wait.mjs';

/** How long the pictures are watched. */
const WATCH_MS = 10_000;
const FPS_MIN = 15;

/** Every guest's counters of everybody else, in a stable order. */
async function readAll(guests) {
  const rows = [];
  for (const viewer of guests) {
    for (const speaker of guests) {
      if (viewer === speaker) continue;
      const { video, audio } = await viewer.from(await speaker.identity());
      rows.push({ pair: `${speaker.name} → ${viewer.name}`, video, audio });
    }
  }
  return rows;
}

/** Watches all pairs for WATCH_MS and holds each to the frame rate, the size and a growing sound. */
async function watchAll(guests, note) {
  for (const viewer of guests) {
    for (const speaker of guests) {
      if (viewer !== speaker) await viewer.seesAndHears(await speaker.identity());
    }
  }
  const before = await readAll(guests);
  await pause(WATCH_MS);
  const after = await readAll(guests);
  for (const [index, now] of after.entries()) {
    const then = before[index];
    const seconds = (now.video.at - then.video.at) / 1000;
    const fps = (now.video.frames - then.video.frames) / seconds;
    const kbps = ((now.video.bytes - then.video.bytes) * 8) / 1000 / seconds;
    const size = `${now.video.width}×${now.video.height}`;
    note(`${now.pair}: ${fps.toFixed(1)} fps at ${size}, ${kbps.toFixed(0)} kbit/s, ` +
      `${now.video.codec}, ${now.audio.codec}, lost ${now.video.lost}, ` +
      `freezes ${now.video.freezes - then.video.freezes}`);
    assert.ok(fps >= FPS_MIN, `${now.pair}: ${fps.toFixed(1)} fps`);
    assert.ok(now.video.width >= 640 && now.video.height >= 480, `${now.pair}: ${size}`);
    assert.ok(now.audio.energy > then.audio.energy, `${now.pair}: the sound does not grow`);
  }
}

for (const [path, params] of [['/rtc/v1', {}], ['/rtc', { v0: '1' }]]) {
  scene(`two pages on two shards see and hear each other on ${path}`, async (stage) => {
    const { server, browser, note } = stage;
    const alice = await joinPage(browser, server, { room: 'r', name: 'alice', ...params });
    const bob = await joinPage(browser, server, { room: 'r', name: 'bob', ...params });
    const shards = [await alice.shard(), await bob.shard()];
    assert.ok(shards[0] !== undefined && shards[0] !== shards[1], `shards ${shards}`);
    const isSingle = await alice.page.evaluate(() => {
      return window.antipode.room.engine.pcManager.mode === 'publisher-only';
    });
    assert.equal(isSingle, path === '/rtc/v1', 'the page is on the wrong endpoint');
    await watchAll([alice, bob], note);
    assert.ok(await server.metric('antipode_parcels_out_total') > 0, 'nothing crossed a core');
  });
}

scene('three pages in one room', async ({ server, browser, note }) => {
  const guests = [];
  for (const name of ['alice', 'bob', 'carol']) {
    guests.push(await joinPage(browser, server, { room: 'r', name }));
  }
  await watchAll(guests, note);
});

scene('one who leaves is gone for the other, and one who mutes is shown as muted', async (stage) => {
  const { server, browser } = stage;
  const alice = await joinPage(browser, server, { room: 'r', name: 'alice' });
  const bob = await joinPage(browser, server, { room: 'r', name: 'bob' });
  await alice.seesAndHears(await bob.identity());
  await bob.page.click('#toggle-microphone');
  await bob.page.click('#toggle-camera');
  await alice.until('sees that bob is muted', () => {
    const [bob_] = window.antipode.room.remoteParticipants.values();
    return !bob_.isMicrophoneEnabled && !bob_.isCameraEnabled;
  });
  await bob.page.click('#toggle-camera');
  await alice.until('sees that bob is back', () => {
    return [...window.antipode.room.remoteParticipants.values()][0].isCameraEnabled;
  });
  const frames = (await alice.from(await bob.identity())).video.frames;
  await alice.until('has moving pictures again', async (before) => {
    const rows = await window.antipode.stats();
    return rows.some((row) => !row.local && row.kind === 'video' && row.frames > before + 10);
  }, frames);
  await bob.page.click('#leave');
  await alice.until('is alone', () => window.antipode.room.remoteParticipants.size === 0);
});
