// The page's entry: reads the link, shows the lobby, gets a token and hands over to the call.
//
// A link may carry `room`, `name`, `auto=1` (join without a click), `token`, and for tests and
// curious people `v0=1` (two peer connections on /rtc), `adaptive=0` (always ask for the best
// picture), `video=vga|hd` (what the camera is asked for), `camera=0`, `microphone=0`. They are
// read from the query and from the fragment; a token belongs in the fragment, which no server sees.

import { Call } from './call.js';

const byId = (id) => document.getElementById(id);

/** What the link asks for. A token is taken out of the address bar as soon as it is read. */
function readLink() {
  const params = new URLSearchParams(location.search);
  for (const [key, value] of new URLSearchParams(location.hash.slice(1))) params.set(key, value);
  const link = {
    room: params.get('room') ?? '',
    name: params.get('name') ?? '',
    token: params.get('token') ?? '',
    auto: params.get('auto') === '1',
    twoConnections: params.get('v0') === '1',
    adaptive: params.get('adaptive') !== '0',
    video: params.get('video') === 'vga' ? 'vga' : 'hd',
    camera: params.get('camera') !== '0',
    microphone: params.get('microphone') !== '0',
  };
  if (link.token) {
    params.delete('token');
    history.replaceState(null, '', `${location.pathname}?${params}`);
  }
  return link;
}

/** The SDK as it is published, or a message that says what to run when this build has none. */
async function loadSdk() {
  try {
    return await import('./dist/livekit-client.esm.mjs');
  } catch (cause) {
    throw new Error(
      'This build of Antipode carries no browser SDK. Run scripts/dev, which fetches it and ' +
      'builds again, or copy dist/livekit-client.esm.mjs of the npm package livekit-client 2.23 ' +
      'to signaling/web/dist/ and run cargo build.',
      { cause },
    );
  }
}

/** A development server mints tokens for its own page; any other wants one made elsewhere. */
async function devToken(room, name) {
  const answer = await fetch('dev/token', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ room, name }),
  });
  if (answer.status === 404) {
    byId('token-details').open = true;
    throw new Error('This server makes no tokens for its page. Paste one that was made for you.');
  }
  if (!answer.ok) throw new Error(`No token: ${(await answer.text()).slice(0, 300)}`);
  return (await answer.json()).token;
}

function showError(error) {
  const place = byId('join-error');
  place.textContent = error.message;
  place.hidden = false;
  byId('join').disabled = false;
  byId('join').textContent = 'Join';
}

async function join(link, sdk) {
  byId('join-error').hidden = true;
  byId('join').disabled = true;
  byId('join').textContent = 'Joining…';
  const room = byId('room').value.trim();
  const name = byId('name').value.trim();
  const token = byId('token').value.trim() || (await devToken(room, name));
  const call = new Call(sdk, {
    token,
    twoConnections: link.twoConnections,
    adaptive: link.adaptive,
    video: link.video,
    camera: byId('with-camera').checked,
    microphone: byId('with-microphone').checked,
  });
  window.antipode = call.forTests();
  await call.join(location.origin.replace(/^http/, 'ws'));
  byId('lobby').hidden = true;
  byId('join').disabled = false;
  byId('join').textContent = 'Join';
  call.onEnd = (reason) => {
    byId('lobby').hidden = false;
    if (reason) showError(new Error(reason));
  };
}

async function main() {
  const link = readLink();
  const name = link.name || localStorage.getItem('antipode.name') || '';
  if (link.room) byId('room').value = link.room;
  byId('name').value = name;
  byId('token').value = link.token;
  byId('with-camera').checked = link.camera;
  byId('with-microphone').checked = link.microphone;
  // A token names the person; the fields must not stand in the way of one.
  byId('join-form').noValidate = Boolean(link.token);
  byId('token').addEventListener('input', (event) => {
    byId('join-form').noValidate = event.target.value.trim() !== '';
  });
  let sdk;
  try {
    sdk = await loadSdk();
  } catch (error) {
    byId('join').disabled = true;
    byId('join-error').textContent = error.message;
    byId('join-error').hidden = false;
    return;
  }
  byId('join-form').addEventListener('submit', (event) => {
    event.preventDefault();
    localStorage.setItem('antipode.name', byId('name').value.trim());
    join(link, sdk).catch(showError);
  });
  if (link.auto && (link.token || (link.room && link.name))) join(link, sdk).catch(showError);
}

main();
