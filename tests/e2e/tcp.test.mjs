// A page whose network lets no UDP through is in the call all the same, over ICE-TCP.

import assert from 'node:assert/strict';

import { joinPage, launch } from './lib/browser.mjs';
import { scene } from './lib/scene.mjs';
import { pause } from './lib/wait.mjs';

/** Chromium opens no UDP socket for WebRTC then. */
const NO_UDP = '--webrtc-ip-handling-policy=disable_non_proxied_udp';
/** How long the pictures are watched. */
const WATCH_MS = 5_000;
const FPS_MIN = 10;

/** Protocols of the pairs that the page's peer connections really use, and those of its candidates. */
function transports(guest) {
  return guest.page.evaluate(async () => {
    const { localParticipant, remoteParticipants } = window.antipode.room;
    const used = [];
    const gathered = new Set();
    for (const participant of [localParticipant, ...remoteParticipants.values()]) {
      for (const { track } of participant.trackPublications.values()) {
        const report = await track?.getRTCStatsReport();
        for (const stat of report?.values() ?? []) {
          if (stat.type === 'local-candidate') gathered.add(stat.protocol);
          const pair = stat.type === 'transport' && report.get(stat.selectedCandidatePairId);
          if (pair) used.push(report.get(pair.localCandidateId)?.protocol);
        }
      }
    }
    return { used, gathered: [...gathered] };
  });
}

/** Frames a second of what `viewer` sees of `identity`, over WATCH_MS. */
async function watch(viewer, identity) {
  const { video: then } = await viewer.from(identity);
  await pause(WATCH_MS);
  const { video: now } = await viewer.from(identity);
  return ((now.frames - then.frames) * 1_000) / (now.at - then.at);
}

for (const [path, params] of [['/rtc/v1', {}], ['/rtc', { v0: '1' }]]) {
  scene(`a page without UDP publishes and plays over TCP on ${path}`, async (stage) => {
    const { server, browser, note } = stage;
    const fenced = await launch(NO_UDP);
    try {
      const alice = await joinPage(fenced, server, { room: 'r', name: 'alice', ...params });
      const bob = await joinPage(browser, server, { room: 'r', name: 'bob', ...params });
      const [aliceId, bobId] = [await alice.identity(), await bob.identity()];
      await alice.seesAndHears(bobId);
      await bob.seesAndHears(aliceId);
      const rates = await Promise.all([watch(alice, bobId), watch(bob, aliceId)]);
      note(`alice sees ${rates[0].toFixed(1)} fps by TCP, bob ${rates[1].toFixed(1)} fps of hers`);
      assert.ok(Math.min(...rates) >= FPS_MIN, `${rates} fps`);
      const [hers, his] = [await transports(alice), await transports(bob)];
      note(`alice uses ${hers.used}, bob ${his.used}`);
      assert.ok(hers.used.length > 0 && hers.used.every((protocol) => protocol === 'tcp'), `${hers.used}`);
      assert.ok(!hers.gathered.includes('udp'), `alice has candidates of ${hers.gathered}`);
      // Who has both takes UDP.
      assert.ok(his.used.length > 0 && his.used.every((protocol) => protocol === 'udp'), `${his.used}`);
      assert.ok(await server.metric('antipode_tcp_messages_out_total') > 100);
      await alice.close();
      await bob.until('is alone', () => window.antipode.room.remoteParticipants.size === 0);
    } finally {
      await fenced.close();
    }
  });
}

scene('without UDP and with ICE-TCP switched off nobody connects', async ({ server }) => {
  const fenced = await launch(NO_UDP);
  try {
    const context = await fenced.newContext();
    const page = await context.newPage();
    await page.goto(`${server.url}/?room=r&name=alice&auto=1&video=vga`);
    const error = page.locator('#join-error');
    await error.filter({ hasText: /\S/ }).waitFor({ state: 'attached', timeout: 60_000 });
    assert.notEqual(await page.evaluate(() => window.antipode?.room.state), 'connected');
  } finally {
    await fenced.close();
  }
}, { serverArgs: ['--media-tcp', 'off'] });
