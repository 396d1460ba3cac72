// The scene of players by WHEP: one WHIP publisher with a simulcast, and two links that are not alike.

import { httpPage } from '../lib/http.mjs';
import { pause } from '../lib/wait.mjs';
import { CAMERA } from './play.mjs';

/** Less than the top layer needs, and enough for one of the others. */
const CAP_KBPS = 400;
const WATCH_MS = 15_000;
const LOOK_EVERY_MS = 200;
/** How long a player may take to find its layer. */
const SETTLE_MS = 5_000;

const ENCODINGS = [...CAMERA.lower, CAMERA.top].map(({ width, kbps }, index) => ({
  rid: 'qhf'[index], scaleResolutionDownBy: CAMERA.top.width / width, maxBitrate: kbps * 1000,
}));

const fpsOf = (looks) => {
  const [first, last] = [looks[0], looks.at(-1)];
  return ((last.frames - first.frames) * 1000) / (last.at - first.at);
};

/** Two players of one publisher; the link of one falls to less than the top layer needs. */
export async function whepUnequal(play) {
  const { browser } = await play.place({ camera: true });
  const publisher = await httpPage(browser, play.server, 'studio');
  await publisher.publish('stage', { encodings: ENCODINGS, width: CAMERA.top.width, height: CAMERA.top.height });
  const players = {};
  for (const name of ['bob', 'carol']) {
    const spot = await play.place();
    players[name] = { spot, page: await httpPage(spot.browser, play.server, name), looks: [] };
    await players[name].page.play('stage');
  }
  for (const { page } of Object.values(players)) await page.sees(CAMERA.top.width, { ms: 60_000 });
  players.bob.spot.capDown(CAP_KBPS);
  const from = performance.now();
  while (performance.now() < from + WATCH_MS) {
    await pause(LOOK_EVERY_MS);
    for (const { page, looks } of Object.values(players)) {
      const { width, frames } = (await page.counters()).video;
      looks.push({ at: performance.now() - from, width, frames });
    }
  }
  return figures(players.bob.looks, players.carol.looks);
}

function figures(bob, carol) {
  const settled = bob.findLastIndex(({ width }) => width === CAMERA.top.width) + 1;
  const calm = bob.filter(({ at }) => at > SETTLE_MS);
  return {
    bobSettledMs: bob[settled]?.at ?? Infinity,
    bobWidth: Math.max(...calm.map(({ width }) => width)),
    bobFps: fpsOf(calm),
    carolTopPercent: (100 * carol.filter(({ width }) => width === CAMERA.top.width).length) / carol.length,
    carolFps: fpsOf(carol),
  };
}
