// What a viewer sees and hears when the network is thin, lossy, crowded, moved or gone for a moment.
// Real browsers in network namespaces of their own; see net/ for the places, the wires and the scenes.
// tests/e2e/net/measure.mjs prints the same figures without judging them.

import './enter.mjs';
import assert from 'node:assert/strict';

import { crowd } from './crowd.mjs';
import { whepUnequal } from './http.mjs';
import { CAMERA, netTest } from './play.mjs';
import * as scenes from './scenes.mjs';

/** The longest and shortest that will do, each with the figure's name. */
function atMost(figures, limits) {
  for (const [name, limit] of Object.entries(limits)) {
    assert.ok(figures[name] <= limit, `${name} is ${figures[name]}, at most ${limit} will do`);
  }
}

function atLeast(figures, limits) {
  for (const [name, limit] of Object.entries(limits)) {
    assert.ok(figures[name] >= limit, `${name} is ${figures[name]}, at least ${limit} will do`);
  }
}

netTest('a link of 500 kbit/s gets a lower layer soon, a recovered one the top', scenes.cap, (figures) => {
  atMost(figures, { settledMs: 2_000, frozenMs: 500, concealedPercent: 0.5, backMs: 6_000 });
  atLeast(figures, { fpsSettled: 20 });
});

for (const [whose, scene] of [["a viewer's", scenes.loss], ["the publisher's", scenes.lossUpstream]]) {
  netTest(`a loss of 5 % on ${whose} link freezes nothing and leaves the sound whole`, scene, (figures) => {
    // The wire did what it should.
    atLeast(figures, { lostPercent: 4, fps: 20 });
    atMost(figures, { lostPercent: 6, longestWaitMs: 300, concealedPercent: 1 });
  });
}

netTest('150 ms away, with jitter and a loss of 1 %, the picture flows', scenes.distant, (figures) => {
  atLeast(figures, { fps: 20 });
  // A lost packet is asked for again over the whole way, there and back.
  atMost(figures, { longestWaitMs: 450, concealedPercent: 2 });
});

netTest('a tunnel that carries no packet whole gets the whole picture', scenes.tunnel, (figures) => {
  atLeast(figures, { fps: 20, kbps: CAMERA.top.kbps * 0.75 });
  atMost(figures, { longestWaitMs: 400, concealedPercent: 0.5 });
});

netTest('a thin link does not disturb another viewer of the same track', scenes.unequal, (figures) => {
  // A machine that is busy with the test itself holds a frame back now and then.
  atMost(figures, { carolFrozenMs: 500, carolLongestWaitMs: 400, carolChanges: 0 });
  atMost(figures, { bobSettledMs: 2_000, carolConcealedPercent: 0.5 });
  atLeast(figures, { carolFps: 20, aliceTopKbps: CAMERA.top.kbps * 0.75 });
});

netTest('two players of one WHIP simulcast, one with 400 kbit/s, have a layer each', whepUnequal, (figures) => {
  atMost(figures, { bobSettledMs: 4_000, bobWidth: CAMERA.lower[1].width });
  // Half of the publisher's rate is one of the rungs.
  atLeast(figures, { carolTopPercent: 90, bobFps: 12, carolFps: 20 });
});

netTest('of ten on a link of 3 Mbit/s the screen and the speaker stay sharp', crowd, (figures) => {
  atLeast(figures, { screenSharpPercent: 95, screenFps: 3, speakerSharpPercent: 95 });
  const half = figures.sentFpsMin / 2;
  atLeast(figures, { speakerFps: half, restFpsMin: half });
  // Nine at their best and the screen would be more than the link has.
  atMost(figures, { restSharp: 7, speakerFrozenMs: 500 });
});

netTest('one who comes into another network has media again within 2 s', scenes.move, (figures) => {
  atMost(figures, { bobBlindMs: 2_000, aliceBlindMs: 2_000 });
});

// Chromium looks after a quiet path every 2.5 s, and nobody knows of the change before it does.
netTest('a client behind a NAT that forgot it is followed at its next check', scenes.rebind, (figures) => {
  atMost(figures, { bobBlindMs: 3_000, aliceBlindMs: 3_000 });
});

netTest('a WebSocket that drops and resumes is not seen', scenes.socketDrops, (figures) => {
  atMost(figures, { bobBlindMs: 200, aliceBlindMs: 200, bobConcealedPercent: 1 });
});

// On screen it takes 2 s more than nothing, because the SDK waits so long before it hands out tracks.
netTest('a full reconnect decodes the picture again within 800 ms', scenes.fullReconnect, (figures) => {
  atMost(figures, { decoderIdleMs: 800, bobBlindMs: 2_800 });
});
