// Each of the two processes is killed in a call, or a client begins anew. Nobody touches a page.

import assert from 'node:assert/strict';

import { joinPage } from './lib/browser.mjs';
import { scene } from './lib/scene.mjs';
import { pause, until } from './lib/wait.mjs';

/** The longest time without a frame while signaling is away and comes back. */
const PAUSE_MS_MAX = 500;
/** From the death of the node to moving pictures. */
const REVIVAL_MS_MAX = 10_000;
/** How long pictures are watched after everything is back. */
const WATCH_MS = 5_000;

/**
 * Each in a browser of its own. A full reconnect opens the camera anew, and when two pages of one
 * browser do so at once, its one fake camera can stand still for both: the page's own preview too,
 * with no frame at all in `media-source`.
 */
async function twoInACall({ server, browser, another }, params) {
  const alice = await joinPage(browser, server, { room: 's', name: 'alice', ...params });
  const bob = await joinPage(await another(), server, { room: 's', name: 'bob', ...params });
  await alice.seesAndHears(await bob.identity());
  await bob.seesAndHears(await alice.identity());
  for (const guest of [alice, bob]) {
    await guest.page.evaluate(() => {
      window.states = [];
      window.antipode.room.on('connectionStateChanged', (state) => window.states.push(state));
    });
  }
  return [alice, bob];
}

/** The page noticed that something was gone, and it is back in the room. */
function isBack(guest) {
  return guest.until('is back in the room', () => {
    const noticed = window.states.some((state) => /econnecting/.test(state));
    return noticed && window.antipode.room.state === 'connected';
  }, undefined, 30_000);
}

for (const [path, params] of [['/rtc/v1', {}], ['/rtc', { v0: '1' }]]) {
  scene(`signaling is killed: the pictures go on and the clients resume, on ${path}`, async (stage) => {
    const { server, browser, note } = stage;
    const [alice, bob] = await twoInACall(stage, params);
    const tracks = [await alice.published(), await bob.published()];
    const node = server.pidOf('node');
    for (const [viewer, seen] of [[alice, bob], [bob, alice]]) await viewer.calm(await seen.identity());

    await server.murder('signal');
    await Promise.all([isBack(alice), isBack(bob)]);
    await pause(WATCH_MS);

    for (const guest of [alice, bob]) {
      const { count, longest } = await guest.pauses();
      note(`${guest.name}: ${count} frames, longest pause ${longest.toFixed(0)} ms`);
      assert.ok(longest < PAUSE_MS_MAX, `${guest.name} saw nothing for ${longest.toFixed(0)} ms`);
    }
    assert.equal(server.pidOf('node'), node, 'the node was restarted as well');
    assert.deepEqual([await alice.published(), await bob.published()], tracks, 'published anew');

    // The new process knows the room: it carries a mute, and shows both to one who comes now.
    await alice.page.click('#toggle-microphone');
    await bob.until('sees that alice is muted', () => {
      return ![...window.antipode.room.remoteParticipants.values()][0].isMicrophoneEnabled;
    });
    const carol = await joinPage(browser, server, { room: 's', name: 'carol', ...params });
    await carol.until('sees both pictures', async () => {
      const rows = await window.antipode.stats();
      return rows.filter((row) => !row.local && row.kind === 'video' && row.frames > 10).length === 2;
    });
  });
}

/** Resolves when new frames of the other one arrive, counted from a moment without any. */
async function picturesMove(guest, ms) {
  const frames = async () => {
    const rows = (await guest.stats()).filter((row) => !row.local && row.kind === 'video');
    return rows.reduce((sum, row) => sum + row.frames, 0);
  };
  let last = await frames();
  let moved = 0;
  await until(`${guest.name} has moving pictures`, async () => {
    const now = await frames();
    // A new subscription starts to count at zero.
    moved = now < last ? now : moved + now - last;
    last = now;
    return moved >= 10;
  }, ms);
}

for (const [path, params] of [['/rtc/v1', {}], ['/rtc', { v0: '1' }]]) {
  scene(`the node is killed: both pages have pictures again within 10 s, on ${path}`, async (stage) => {
    const { server, note } = stage;
    const [alice, bob] = await twoInACall(stage, params);
    const { at } = await server.murder('node');
    await Promise.all([alice, bob].map(async (guest) => {
      await picturesMove(guest, REVIVAL_MS_MAX - (performance.now() - at));
      note(`${guest.name}: pictures after ${((performance.now() - at) / 1000).toFixed(1)} s`);
    }));
    await alice.seesAndHears(await bob.identity());
    await bob.seesAndHears(await alice.identity());
  });
}

for (const [path, params] of [['/rtc/v1', {}], ['/rtc', { v0: '1' }]]) {
  scene(`one who reconnects from scratch is on the other's screen again, on ${path}`, async (stage) => {
    const [alice, bob] = await twoInACall(stage, params);
    const [who, seen] = [await alice.identity(), await bob.identity()];
    const sid = await alice.page.evaluate(() => window.antipode.room.localParticipant.sid);
    await alice.page.evaluate(() => window.antipode.room.simulateScenario('resume-reconnect'));
    await bob.until('has alice as another participant', ([identity, before]) => {
      const all = [...window.antipode.room.remoteParticipants.values()];
      return all.some((other) => other.identity === identity && other.sid !== before);
    }, [who, sid]);
    await bob.seesAndHears(who);
    await alice.seesAndHears(seen);
    // Decoded is not shown: the tracks come in sections that were in use before.
    for (const [viewer, shown] of [[bob, who], [alice, seen]]) {
      await viewer.noteFrames(shown);
      await viewer.until('has ten frames on the screen', () => window.frameNotes.count >= 10);
    }
  });
}
