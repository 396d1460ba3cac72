// How far sound and picture of one person are apart for another one (lip sync).

import { readFile } from 'node:fs/promises';

import { until } from './wait.mjs';

const CLAPPER = new URL('./clapper.js', import.meta.url);
/** Claps that are judged, and how long they take at most. */
const CLAPS = 20;
const CLAPS_MS_MAX = 25_000;
/** How long two browsers may take until they know each other's clocks and have come together. */
const SETTLE_MS_MAX = 40_000;
/** From here on sound and picture count as together. */
export const SKEW_MS_MAX = 40;

/** Publishes the clapper in a page; `room` is a script that gives the SDK's room there. */
export async function clap(page, room) {
  await page.evaluate(await readFile(CLAPPER, 'utf8'));
  await page.evaluate(`window.clapper.clap(${room})`);
}

function median(values) {
  return [...values].sort((a, b) => a - b)[values.length >> 1];
}

/** For each moment the distance to the nearest of the others: positive when that is later. */
function distances(moments, others) {
  return moments.map((at) => {
    return others.reduce((best, other) => (Math.abs(other - at) < Math.abs(best) ? other - at : best), Infinity);
  });
}

/** How the page `page` gets the clapper of another one. Positive: the sound comes behind the picture. */
export async function skew(page, room) {
  await page.evaluate(await readFile(CLAPPER, 'utf8'));
  await until('picture and sound come', () => page.evaluate(`
    [...${room}.remoteParticipants.values()].some((who) => {
      const tracks = [...who.trackPublications.values()].map((publication) => publication.track);
      return tracks.length === 2 && tracks.every((track) => track?.attachedElements.length > 0);
    })`));
  await page.evaluate(`window.attendance = window.clapper.attend(${room})`);
  const notes = () => page.evaluate('window.attendance.notes()');
  const settled = await until('sound and picture are together', async () => {
    const { skews } = await notes();
    const last = skews.slice(-4).map(([, ms]) => ms);
    if (last.length < 4 || last.some((ms) => Math.abs(ms) >= SKEW_MS_MAX)) {
      throw new Error(`last skews: ${last.join(' ')}`);
    }
    return skews.at(-1)[0];
  }, SETTLE_MS_MAX);
  const after = (list) => list.filter((at) => at > settled);
  const judged = await until(`${CLAPS} claps are seen and heard`, async () => {
    const all = await notes();
    return after(all.seen).length >= CLAPS && after(all.heard).length >= CLAPS && all;
  }, CLAPS_MS_MAX);
  const apart = distances(after(judged.seen), judged.heard);
  const believed = judged.skews.filter(([at]) => at > settled).map(([, ms]) => ms);
  return {
    settledMs: settled - judged.from,
    believedMs: median(believed),
    believedMsMax: Math.max(...believed.map(Math.abs)),
    heardBehindSeenMs: median(apart),
    claps: apart.length,
  };
}
