// Publishing by WHIP and playing by WHEP: a browser with nothing but RTCPeerConnection and fetch.

import assert from 'node:assert/strict';

import { joinPage } from './lib/browser.mjs';
import { httpPage } from './lib/http.mjs';
import { scene } from './lib/scene.mjs';
import { until } from './lib/wait.mjs';

scene('one publishes by WHIP, another plays by WHEP', async ({ server, browser }) => {
  const publisher = await httpPage(browser, server, 'camera');
  const player = await httpPage(browser, server, 'wall');
  await publisher.publish('studio');
  await player.play('studio');
  await player.sees(640);
  await player.seesMore();

  assert.equal((await player.ask('DELETE')).status, 200);
  assert.equal((await publisher.ask('DELETE')).status, 200);
  assert.equal((await publisher.ask('DELETE')).status, 404);
  await until('nobody is left', async () => (await server.metric('antipode_sessions')) === 0);
  assert.equal(await server.metric('antipode_signal_members'), 0);
});
