// A film for Chromium's fake camera. Its own fake device gives 20 frames a second of a picture that
// hardly moves, so that no layer ever reaches its bitrate.

import { createWriteStream } from 'node:fs';
import { rename, stat } from 'node:fs/promises';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const WIDTH = 1280;
export const HEIGHT = 720;
export const FPS = 30;
/** The film is played in a loop; 40 frames are 55 MB. */
const FRAMES = 40;
/** How wide the panned picture is; it comes back to its start with the last frame. */
const STEP = 8;
const WIDE = WIDTH + FRAMES * STEP;

/** A small generator with a seed (mulberry32's mixing), so that every run films the same. */
function dice(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}

/** A landscape of waves and grain, wider than the picture, in luma. */
function landscape(roll) {
  const wide = Buffer.alloc(WIDE * HEIGHT);
  for (let y = 0; y < HEIGHT; y += 1) {
    for (let x = 0; x < WIDE; x += 1) {
      const wave = 40 * Math.sin(x / 37 + Math.sin(y / 51) * 2) + 30 * Math.sin(y / 29 + x / 113);
      wide[y * WIDE + x] = 120 + wave + (roll() & 15);
    }
  }
  return wide;
}

/** Writes the film once per machine and gives its path. */
export async function film() {
  const path = join(tmpdir(), `antipode-film-${WIDTH}x${HEIGHT}-${FRAMES}.y4m`);
  if (await stat(path).then(() => true, () => false)) return path;
  const roll = dice(1);
  const wide = landscape(roll);
  const draft = `${path}.${process.pid}`;
  const out = createWriteStream(draft);
  out.write(`YUV4MPEG2 W${WIDTH} H${HEIGHT} F${FPS}:1 Ip A1:1 C420jpeg\n`);
  for (let frame = 0; frame < FRAMES; frame += 1) {
    const luma = Buffer.alloc(WIDTH * HEIGHT);
    // There and back again: the loop has no cut, which would cost a burst of its own.
    const shift = Math.abs(FRAMES / 2 - frame) * STEP;
    for (let y = 0; y < HEIGHT; y += 1) {
      wide.copy(luma, y * WIDTH, y * WIDE + shift, y * WIDE + shift + WIDTH);
    }
    const chroma = Buffer.alloc((WIDTH * HEIGHT) / 4, 118);
    out.write('FRAME\n');
    out.write(luma);
    out.write(chroma);
    if (!out.write(Buffer.alloc((WIDTH * HEIGHT) / 4, 138))) await once(out, 'drain');
  }
  out.end();
  await once(out, 'close');
  await rename(draft, path);
  return path;
}
