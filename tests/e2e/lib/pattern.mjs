// Pictures that carry their number, as pattern.py paints them: files of them, and their reading in a page.

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before } from 'node:test';

import { runPython } from './peer.mjs';

/** How much of the sound must be the tone: the rest is the codec's. */
const PURITY_MIN = 0.8;
const TONE_HZ = 440;

/** Makes the files before the tests of the file that calls it, and gives a function to their paths. */
export function patternFiles() {
  let folder;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'antipode-pattern-'));
    await runPython('pattern.py', 'make', folder);
  });
  after(() => rm(folder, { recursive: true, force: true }));
  return (name) => join(folder, name);
}

/**
 * Waits until so many different pictures and a second of sound came to a player of http_peer.py, and
 * judges all that came: none that is not ours, and none after a later one.
 */
export async function seesTheSame(player, { distinct = 60, width = 320, note = () => {} } = {}) {
  const enough = (row) => row.event === 'received' && row.distinct >= distinct && row.toneHz > 0;
  const row = await player.row(`sees ${distinct} pictures and hears`, enough, 40_000);
  note(JSON.stringify(row));
  assert.equal(row.foreign, 0, 'every picture is one of ours, whole');
  assert.equal(row.backwards, 0, 'none comes after a later one');
  assert.ok(row.width >= width, `${row.width} wide`);
  assert.ok(Math.abs(row.toneHz - TONE_HZ) <= 2, `${row.toneHz} Hz`);
  assert.ok(row.purity >= PURITY_MIN, `${row.purity} of the sound is the tone`);
  return row;
}

/** Reads pictures of a page's video until so many different ones were shown, and judges them the same. */
export async function showsTheSame(page, selector, distinct = 30) {
  const seen = await page.evaluate(readNumbers, { selector, distinct, endMs: 30_000 });
  const text = JSON.stringify(seen);
  assert.equal(seen.foreign, 0, text);
  assert.equal(seen.backwards, 0, text);
  assert.ok(seen.distinct >= distinct, text);
  return seen;
}

/** Runs in the page. The middles of four times four blocks: eight bits, and the same turned over. */
function readNumbers({ selector, distinct, endMs }) {
  const SIDE = 4;
  const BITS = 8;
  const MIDDLE = 128;
  const DOUBT = 40;
  const video = document.querySelector(selector);
  const canvas = document.createElement('canvas');
  const context = canvas.getContext('2d', { willReadFrequently: true });
  const read = () => {
    const [width, height] = [video.videoWidth, video.videoHeight];
    Object.assign(canvas, { width, height });
    context.drawImage(video, 0, 0);
    let word = 0;
    for (let place = 0; place < SIDE * SIDE; place += 1) {
      const x = Math.floor(((place % SIDE) + 0.5) * (width / SIDE));
      const y = Math.floor((Math.floor(place / SIDE) + 0.5) * (height / SIDE));
      const { data } = context.getImageData(x - 2, y - 2, 4, 4);
      const mean = data.filter((_, at) => at % 4 === 1).reduce((sum, green) => sum + green, 0) / 16;
      if (Math.abs(mean - MIDDLE) < DOUBT) return undefined;
      if (mean > MIDDLE) word |= 1 << place;
    }
    const all = (1 << BITS) - 1;
    return ((word >> BITS) ^ (word & all)) === all ? word >> BITS : undefined;
  };
  const seen = { pictures: 0, foreign: 0, backwards: 0, distinct: 0, last: undefined };
  const numbers = new Set();
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(seen), endMs);
    const look = () => {
      const number = read();
      seen.pictures += 1;
      if (number === undefined) {
        seen.foreign += 1;
      } else {
        const step = (number - (seen.last ?? number) + (1 << BITS)) % (1 << BITS);
        if (step > 1 << (BITS - 1)) seen.backwards += 1;
        seen.last = number;
        numbers.add(number);
        seen.distinct = numbers.size;
      }
      if (seen.distinct < distinct) {
        video.requestVideoFrameCallback(look);
      } else {
        clearTimeout(timer);
        resolve(seen);
      }
    };
    video.requestVideoFrameCallback(look);
  });
}
