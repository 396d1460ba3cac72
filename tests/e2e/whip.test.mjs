// Publishing by WHIP and playing by WHEP: a browser with nothing but RTCPeerConnection and fetch.

import assert from 'node:assert/strict';

import { joinPage } from './lib/browser.mjs';
import { httpPage } from './lib/http.mjs';
import { scene } from './lib/scene.mjs';
import { mint } from './lib/token.mjs';
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

scene('a WHIP publisher is a participant to the SDK, and an SDK publisher is played by WHEP', async ({ server, browser }) => {
  const publisher = await httpPage(browser, server, 'obs');
  await publisher.publish('mixed');
  const guest = await joinPage(browser, server, { room: 'mixed', name: 'ann' });
  const names = await guest.page.evaluate(() => (
    [...window.antipode.room.remoteParticipants.values()].map((one) => one.identity)
  ));
  assert.equal(names.length, 1, `${names}`);
  await guest.seesAndHears(names[0]);

  // A player of one participant, and none of the two is told of it.
  const player = await httpPage(browser, server, 'wall');
  await player.play('mixed', { of: await guest.identity() });
  await player.sees(640);
  await player.seesMore();
  const others = await guest.page.evaluate(() => window.antipode.room.remoteParticipants.size);
  assert.equal(others, 1);

  // What it plays goes, and comes back.
  const identity = await guest.identity();
  await guest.close();
  await until('the room has one publisher', async () => (await server.metric('antipode_signal_members')) === 2);
  const token = mint({ sub: identity, video: { room: 'mixed', roomJoin: true } });
  const back = await httpPage(browser, server, identity);
  await back.publish('mixed', { token });
  await player.seesMore(15, 30_000);
});

scene('a player waits for its room, and moves on when a publisher leaves', async ({ server, browser }) => {
  const player = await httpPage(browser, server, 'wall');
  const { answer } = await player.play('empty');
  assert.match(answer, /a=ssrc:/, 'the sections are there before anybody publishes');
  const first = await httpPage(browser, server, 'first');
  await first.publish('empty');
  await player.sees(640);
  const { video: { ssrc } } = await player.counters();
  const second = await httpPage(browser, server, 'second');
  await second.publish('empty');
  await first.ask('DELETE');
  await player.seesMore();
  assert.equal((await player.counters()).video.ssrc, ssrc, 'one stream for whoever is in it');
});

scene('two players of one simulcast choose a layer each', async ({ server, browser, another }) => {
  const publisher = await httpPage(browser, server, 'cam');
  const encodings = [
    { rid: 'q', scaleResolutionDownBy: 4 }, { rid: 'h', scaleResolutionDownBy: 2 }, { rid: 'f' },
  ];
  await publisher.publish('stairs', { encodings, width: 1280, height: 720 });
  const players = await another();
  const small = await httpPage(players, server, 'small');
  await small.play('stairs', { query: '?layer=q' });
  const large = await httpPage(players, server, 'large');
  const { link } = await large.play('stairs');
  assert.match(link, /urn:ietf:params:whep:ext:core:layer/);
  await small.sees(320, { exactly: true });
  await large.sees(1280, { ms: 60_000 });

  // The one that had the most now has less, and gets its choice back.
  const json = { 'content-type': 'application/json' };
  const choose = (choice) => large.ask('POST', json, JSON.stringify(choice), '/layers');
  assert.equal((await choose({ rid: 'h' })).status, 200);
  await large.sees(640, { exactly: true });
  assert.equal((await choose({ rid: 'nobody' })).status, 422);
  assert.equal((await choose({})).status, 200);
  await large.sees(1280, { ms: 60_000 });
  assert.equal((await small.counters()).video.width, 320);
});

scene('signaling is killed: the play goes on, and its resources are still there', async ({ server, browser, note }) => {
  const publisher = await httpPage(browser, server, 'cam');
  const player = await httpPage(browser, server, 'wall');
  await publisher.publish('night');
  await player.play('night');
  await player.sees(640);
  await player.calm();
  const before = (await player.counters()).video;
  await server.murder('signal');
  await until('it is back', () => server.isReady());
  await player.seesMore(30);
  const after = (await player.counters()).video;
  const { longest } = await player.pauses();
  note(`freezes: ${before.freezes} before, ${after.freezes} after, longest pause ${longest.toFixed(0)} ms`);
  assert.equal(after.freezes, before.freezes, 'nobody saw it');

  // Both sides restart ICE at the new process, which has what it needs for it.
  const { tag } = await publisher.restart();
  assert.ok(tag);
  await player.seesMore(30);
  assert.equal((await player.ask('DELETE')).status, 200);
  assert.equal((await publisher.ask('DELETE')).status, 200);
  assert.equal((await publisher.ask('DELETE')).status, 404);
  await until('nobody is left', async () => (await server.metric('antipode_sessions')) === 0);
});

scene('ICE restarts by PATCH, on either side', async ({ server, browser }) => {
  const publisher = await httpPage(browser, server, 'cam');
  const player = await httpPage(browser, server, 'wall');
  const first = await publisher.publish('roads');
  const played = await player.play('roads');
  await player.sees(640);
  for (const [peer, { tag }] of [[publisher, first], [player, played]]) {
    const restarted = await peer.restart();
    assert.equal(restarted.type, 'application/trickle-ice-sdpfrag');
    assert.match(restarted.tag, /^".+"$/);
    assert.notEqual(restarted.tag, tag);
    for (const line of ['ice-lite', 'ice-ufrag:', 'ice-pwd:', 'candidate:', 'end-of-candidates']) {
      assert.ok(restarted.text.includes(`\r\na=${line}`), restarted.text);
    }
    await player.seesMore(30);
    const stale = await peer.ask('PATCH', {
      'content-type': 'application/trickle-ice-sdpfrag', 'if-match': tag,
    }, 'a=end-of-candidates\r\n');
    assert.equal(stale.status, 412);
  }
});

scene('a publisher that goes without a word is gone', async ({ server, browser }) => {
  const publisher = await httpPage(browser, server, 'cam');
  await publisher.publish('door');
  await until('it is connected', async () => (await server.metric('antipode_packets_in_total')) > 0);
  // Its DTLS is closed in order, and nobody deletes anything.
  await publisher.page.evaluate(() => window.session.pc.close());
  await until('it is gone', async () => (await server.metric('antipode_signal_members')) === 0);
  await until('its session is gone', async () => (await server.metric('antipode_sessions')) === 0);
  assert.equal((await publisher.ask('DELETE')).status, 404);
});

scene('the pages publish and play, with a layer of choice', async ({ server, browser, another }) => {
  const open = async (at, where) => {
    const page = await (await at.newContext()).newPage();
    await page.goto(`${server.url}/${where}`);
    return page;
  };
  const publisher = await open(browser, 'whip?room=hall&name=cam&auto=1');
  await until('it publishes', () => publisher.evaluate(() => window.session?.pc.connectionState === 'connected'));
  const player = await open(await another(), 'whep?room=hall&name=wall&auto=1');
  const width = () => player.evaluate(() => document.getElementById('video').videoWidth);
  await until('it shows the whole picture', async () => (await width()) === 1280, 60_000);
  await until('it knows the layers', async () => (await player.locator('#layer option').count()) === 4);
  await player.selectOption('#layer', 'q');
  await until('it shows the small picture', async () => (await width()) === 320, 30_000);
  assert.match(await publisher.locator('#recipes').textContent(), /-f whip [^]*whip\/hall/);
  await player.click('#stop');
  await publisher.click('#stop');
  await until('nobody is left', async () => (await server.metric('antipode_signal_members')) === 0);
});

scene('every codec goes through, with its sections in any order', async ({ server, browser }) => {
  for (const [n, codec] of ['video/VP8', 'video/VP9', 'video/H264', 'video/AV1'].entries()) {
    const room = codec.replace('/', '-');
    const publisher = await httpPage(browser, server, 'cam');
    await publisher.publish(room, { codec, videoFirst: n % 2 === 1, width: 320, height: 240 });
    const player = await httpPage(browser, server, 'wall');
    await player.play(room);
    await player.sees(320);
    await player.seesMore(10);
    await publisher.close();
    await player.close();
  }
});
