// When the frames of one video element reach the screen, and how long it stood still.

import { pause, until } from './wait.mjs';

/** How long a picture must have run without a pause as long as CALM_PAUSE_MS to be called even. */
const CALM_MS = 2_000;
const CALM_PAUSE_MS = 250;

/** Starts to note when frames reach the element of `selector`; `pauses` reads the notes. */
export async function noteFrames(page, selector) {
  await page.evaluate((where) => {
    const video = document.querySelector(where);
    const notes = { count: 0, last: performance.now(), longest: 0 };
    window.frameNotes = notes;
    const note = () => {
      // Another call has taken over.
      if (window.frameNotes !== notes) return;
      const now = performance.now();
      if (notes.count > 0) notes.longest = Math.max(notes.longest, now - notes.last);
      notes.last = now;
      notes.count += 1;
      video.requestVideoFrameCallback(note);
    };
    video.requestVideoFrameCallback(note);
  }, selector);
  await until('a first noted frame', () => page.evaluate(() => window.frameNotes.count > 0));
}

/** How many frames were shown since `noteFrames`, and the longest wait for one, in ms. */
export function pauses(page) {
  return page.evaluate(() => {
    const { count, last, longest } = window.frameNotes;
    return { count, longest: Math.max(longest, performance.now() - last) };
  });
}

/**
 * Notes frames from a moment on at which they have come evenly for a while: what is measured
 * afterwards is the blow that follows, not an encoder that has just started or a machine that has
 * better things to do.
 */
export function calm(page, selector) {
  return until('an even picture', async () => {
    await noteFrames(page, selector);
    await pause(CALM_MS);
    return (await pauses(page)).longest < CALM_PAUSE_MS;
  }, 30_000);
}
