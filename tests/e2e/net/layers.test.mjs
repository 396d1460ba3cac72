// Codecs with temporal layers alone and with spatial ones, in one stream, on a link that loses packets:
// what comes again fits where it was missing, and the decoder goes on.

import './enter.mjs';
import assert from 'node:assert/strict';

import { netTest } from './play.mjs';
import { lossOfLayers } from './scenes.mjs';

/** The longest time without a new picture, and pictures a second that are enough for a busy machine. */
const WAIT_MS_MAX = 500;
const FPS_MIN = 10;

for (const [codec, mode] of [['av1', 'L1T3'], ['av1', 'L3T3_KEY'], ['vp9', 'L3T3_KEY']]) {
  const scene = (play) => lossOfLayers(play, codec, mode);
  netTest(`a loss of 3 % freezes no picture of ${codec} in ${mode}`, scene, (figures) => {
    assert.equal(figures.videoCodec.toLowerCase(), `video/${codec}`);
    assert.ok(figures.lostPercent > 2 && figures.lostPercent < 4, `${figures.lostPercent} % were lost`);
    assert.ok(figures.fps >= FPS_MIN, `${figures.fps} frames a second`);
    assert.ok(figures.longestWaitMs <= WAIT_MS_MAX, `no picture for ${figures.longestWaitMs} ms`);
    assert.ok(figures.frozenMs <= WAIT_MS_MAX, `frozen for ${figures.frozenMs} ms`);
  });
}
