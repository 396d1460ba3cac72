// Bad tokens: refused with the reason, by plain HTTP and at the door of the WebSocket.

import assert from 'node:assert/strict';
import { request } from 'node:http';
import { after, before, test } from 'node:test';

import { startServer } from './lib/server.mjs';
import { mint, now, part } from './lib/token.mjs';

const good = mint({});
const [head, claims, seal] = good.split('.');
const flipped = seal.startsWith('A') ? `B${seal.slice(1)}` : `A${seal.slice(1)}`;

/** What is sent, and what the reason must speak of. */
const BAD = {
  'no token': [undefined, /token/i],
  'an empty token': ['', /token/i],
  'no token at all but words': ['not-a-token', /token|malformed|invalid/i],
  'the wrong secret': [mint({}, { secret: 'guess' }), /signature/i],
  'a broken seal': [`${head}.${claims}.${flipped}`, /signature/i],
  'claims of another token': [`${head}.${part({ sub: 'root' })}.${seal}`, /signature|claim|token/i],
  'alg none': [mint({}, { alg: 'none' }), /alg|signature|token/i],
  'alg HS384': [mint({}, { alg: 'HS384' }), /HS256/],
  'an unknown key': [mint({ iss: 'nobody' }), /key|issuer/i],
  'an expired token': [mint({ exp: now - 600 }), /expired/i],
  'a token of tomorrow': [mint({ nbf: now + 86_400, exp: now + 90_000 }), /not.*(yet|before)|nbf/i],
  'no expiry': [mint({ exp: undefined }), /exp/i],
  'no identity': [mint({ sub: undefined }), /identity|sub/i],
  'a megabyte': [`${head}.${'A'.repeat(1 << 16)}.${seal}`, /./],
};

let server;
before(async () => { server = await startServer(); });
after(() => server?.stop());

/** A WrappedJoinRequest around an empty JoinRequest, which `/rtc/v1` wants before all else. */
const EMPTY_JOIN = Buffer.from([0x12, 0x00]).toString('base64url');

/** A GET, as a WebSocket's upgrade when told so. Gives the status and the text of the answer. */
function ask(path, token, { upgrade = false, header = false, more = {} } = {}) {
  const query = new URLSearchParams({ join_request: EMPTY_JOIN, ...more });
  if (token !== undefined && !header) query.set('access_token', token);
  const headers = header ? { authorization: `Bearer ${token}` } : {};
  if (upgrade) {
    Object.assign(headers, {
      connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13',
      'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
    });
  }
  return new Promise((resolve, reject) => {
    const sent = request(`${server.url}${path}?${query}`, { headers, agent: false }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (piece) => { text += piece; });
      answer.on('end', () => resolve({ status: answer.statusCode, text }));
    });
    sent.on('upgrade', (answer, socket) => {
      socket.destroy();
      resolve({ status: answer.statusCode, text: '' });
    });
    sent.on('error', reject);
    sent.end();
  });
}

for (const path of ['/rtc/validate', '/rtc/v1/validate']) {
  test(`a good token is welcome on ${path}, in the query and in the header`, async () => {
    assert.equal((await ask(path, good)).status, 200);
    assert.equal((await ask(path, good, { header: true })).status, 200);
  });
}

for (const [what, [token, reason]] of Object.entries(BAD)) {
  test(`401 and no state for ${what}`, async () => {
    const clients = await server.metric('antipode_sessions');
    for (const [path, how] of [
      ['/rtc/validate', {}], ['/rtc/v1/validate', {}],
      ['/rtc', { upgrade: true }], ['/rtc/v1', { upgrade: true }],
    ]) {
      const { status, text } = await ask(path, token, how);
      // What is longer than any token may be refused for its size alone.
      const expected = token?.length > 1 << 15 ? [401, 414, 431] : [401];
      assert.ok(expected.includes(status), `${path}: ${status} ${text}`);
      if (status === 401) assert.match(text, reason, path);
      for (const piece of (token ?? '').split('.').filter((word) => word.length > 16)) {
        assert.ok(!text.includes(piece), `${path} echoes the token`);
        assert.ok(!server.log.join('\n').includes(piece), 'the log holds the token');
      }
    }
    assert.equal(await server.metric('antipode_sessions'), clients);
  });
}

test('a token is good for its own room alone', async () => {
  for (const path of ['/rtc/validate', '/rtc/v1/validate']) {
    assert.equal((await ask(path, good, { more: { room: 'r' } })).status, 200);
    const { status, text } = await ask(path, good, { more: { room: 'other' } });
    assert.equal(status, 401);
    assert.match(text, /another room/);
  }
});

for (const video of [{ room: 'r', roomJoin: false }, { roomJoin: true }, undefined]) {
  test(`403 for a token that is true and grants too little: ${JSON.stringify(video)}`, async () => {
    for (const path of ['/rtc/validate', '/rtc/v1/validate']) {
      const { status, text } = await ask(path, mint({ video }));
      assert.equal(status, 403, text);
      assert.match(text, /roomJoin/);
    }
  });
}
