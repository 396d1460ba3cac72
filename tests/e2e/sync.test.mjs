// Sound and picture of one member are played together by another one.

import assert from 'node:assert/strict';

import { joinPage } from './lib/browser.mjs';
import { scene } from './lib/scene.mjs';
import { SKEW_MS_MAX, clap, skew } from './lib/sync.mjs';

const ROOM = 'window.antipode.room';
/** What is heard is noted before the output, what is seen with the screen: they are less exact. */
const NOTED_MS_MAX = 80;

// `v0`: the server offers, and tells its own ids of tracks.
for (const v0 of ['0', '1']) {
  scene(`a clap is seen and heard within ${SKEW_MS_MAX} ms${v0 === '1' ? ' on two connections' : ''}`,
    async ({ server, browser, note }) => {
      const still = { room: 's', camera: '0', microphone: '0', v0 };
      const alice = await joinPage(browser, server, { ...still, name: 'alice' });
      const bob = await joinPage(browser, server, { ...still, name: 'bob' });
      await clap(alice.page, ROOM);
      const figures = await skew(bob.page, ROOM);
      note(JSON.stringify(figures));
      assert.ok(Math.abs(figures.heardBehindSeenMs) < NOTED_MS_MAX, JSON.stringify(figures));
    });
}
