// Sound and picture stay together where the viewer's path delays them unevenly.

import './enter.mjs';
import assert from 'node:assert/strict';

import { SKEW_MS_MAX, clap, skew } from '../lib/sync.mjs';
import { netTest } from './play.mjs';

const room = (name) => `window.stage.seats.get('${name}').room`;
/** A viewer on another continent, one way. */
const FAR = { delay_ms: 100, jitter_ms: 40 };
/** What is heard is noted before the output, what is seen with the screen: they are less exact. */
const NOTED_MS_MAX = 80;

async function clapFarAway(play) {
  const alice = await play.enter('alice', { onRecord: false });
  const bob = await play.enter('bob', { wire: 'tun', onRecord: false });
  await bob.spot.impair({ down: FAR, up: FAR });
  await clap(alice.page, room('alice'));
  return skew(bob.page, room('bob'));
}

netTest(`far away a clap is seen and heard within ${SKEW_MS_MAX} ms too`, clapFarAway, (figures) => {
  assert.ok(Math.abs(figures.heardBehindSeenMs) < NOTED_MS_MAX, JSON.stringify(figures));
});
