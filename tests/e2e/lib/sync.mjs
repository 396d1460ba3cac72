// How far sound and picture of one person are apart for another one (lip sync).

import { readFile } from 'node:fs/promises';

import { until } from './wait.mjs';

const CLAPPER = new URL('./clapper.js', import.meta.url);
/** Claps that are judged together. */
const CLAPS = 20;
/**
 * How long two browsers may take until they know each other's clocks, have come together, and stayed so
 * for so many claps. Ten seconds and the claps do; a busy machine throws a picture back now and then.
 */
const SETTLE_MS_MAX = 75_000;
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
  return until(`${CLAPS} claps are seen and heard together`, async () => {
    const { from, now, seen, heard, skews } = await page.evaluate('window.attendance.notes()');
    if (Math.min(seen.length, heard.length) < CLAPS) throw new Error(`${seen.length} claps so far`);
    const since = seen.at(-CLAPS);
    const believed = skews.filter(([at]) => at > since).map(([, ms]) => ms);
    if (skews.length === 0 || skews[0][0] > since) throw new Error('the clocks were not known all the time');
    const figures = {
      tookMs: now - from,
      believedMs: median(believed),
      believedMsMax: Math.max(...believed.map(Math.abs)),
      heardBehindSeenMs: median(distances(seen.slice(-CLAPS), heard)),
    };
    if (Math.abs(figures.believedMs) >= SKEW_MS_MAX) throw new Error(JSON.stringify(figures));
    return figures;
  }, SETTLE_MS_MAX);
}
