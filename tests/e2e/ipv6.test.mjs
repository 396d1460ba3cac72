// Two pages whose media travels over IPv6.

import assert from 'node:assert/strict';

import { joinPage } from './lib/browser.mjs';
import { scene } from './lib/scene.mjs';

/** The server tells of the one address that it is given, and not of 127.0.0.1 as well. */
process.env.ANTIPODE_MEDIA_LOOPBACK = 'false';
/** Else Chromium has no candidate at `::1`, where the server is. */
const LOOPBACK = '--allow-loopback-in-peer-connection';

/** Remote addresses of the pairs that the page's peer connections use. */
function peers(guest) {
  return guest.page.evaluate(async () => {
    const used = new Set();
    const { localParticipant, remoteParticipants } = window.antipode.room;
    for (const participant of [localParticipant, ...remoteParticipants.values()]) {
      for (const { track } of participant.trackPublications.values()) {
        const report = await track?.getRTCStatsReport();
        for (const stat of report?.values() ?? []) {
          const pair = stat.type === 'transport' && report.get(stat.selectedCandidatePairId);
          if (pair) used.add(report.get(pair.remoteCandidateId)?.address);
        }
      }
    }
    return [...used];
  });
}

const options = { serverArgs: ['--advertise', '::1'], browserArgs: [LOOPBACK] };

scene('media travels over IPv6', async ({ server, browser, another, note }) => {
  const alice = await joinPage(browser, server, { room: 'six', name: 'alice' });
  const bob = await joinPage(await another(), server, { room: 'six', name: 'bob' });
  await alice.seesAndHears(await bob.identity());
  await bob.seesAndHears(await alice.identity());
  for (const guest of [alice, bob]) {
    const used = await peers(guest);
    note(`${guest.name} sends to ${used}`);
    assert.deepEqual(used, ['::1']);
  }
}, options);
