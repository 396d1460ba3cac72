// What the pages of WHIP and WHEP share: links, tokens, the one request, and texts to copy.
//
// A link may carry `room`, `name`, `token`, `auto=1` (begin without a click), and what the page itself
// takes; from the query and from the fragment. A token belongs in the fragment, which no server sees.

export const byId = (id) => document.getElementById(id);

/** What the link asks for. A token is taken out of the address bar as soon as it is read. */
export function readLink() {
  const params = new URLSearchParams(location.search);
  for (const [key, value] of new URLSearchParams(location.hash.slice(1))) params.set(key, value);
  for (const id of ['room', 'name', 'token']) {
    if (params.get(id)) byId(id).value = params.get(id);
  }
  if (params.has('token')) {
    params.delete('token');
    history.replaceState(null, '', `${location.pathname}?${params}`);
  }
  return params;
}

/** The token of the form, or one that a development server mints for its own page. */
async function findToken() {
  const own = byId('token').value.trim();
  if (own) return own;
  const answer = await fetch('dev/token', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ room: byId('room').value.trim(), name: byId('name').value.trim() }),
  });
  if (answer.status === 404) {
    byId('token-details').open = true;
    throw new Error('This server makes no tokens for its page. Paste one that was made for you.');
  }
  if (!answer.ok) throw new Error(`No token: ${(await answer.text()).slice(0, 300)}`);
  return (await answer.json()).token;
}

/** A problem (RFC 9457) in its own words. */
async function complaint(answer) {
  const text = await answer.text();
  try {
    return `${answer.status}: ${JSON.parse(text).detail}`;
  } catch {
    return `${answer.status}: ${text.slice(0, 300)}`;
  }
}

/** One session: an offer by POST, its answer, and the resource until it is deleted. */
export class Session {
  constructor(pc, token) {
    Object.assign(this, { pc, token, url: undefined, links: {} });
  }

  async begin(path) {
    await this.pc.setLocalDescription(await this.pc.createOffer());
    const answer = await this.ask('POST', new URL(path, location.href), 'application/sdp', this.pc.localDescription.sdp);
    if (answer.status !== 201) throw new Error(await complaint(answer));
    this.url = new URL(answer.headers.get('location'), answer.url);
    for (const [, target, rel] of (answer.headers.get('link') ?? '').matchAll(/<([^>]*)>;\s*rel="([^"]*)"/g)) {
      this.links[rel.split(':').at(-1)] = new URL(target, answer.url);
    }
    await this.pc.setRemoteDescription({ type: 'answer', sdp: await answer.text() });
  }

  ask(method, url, type, body) {
    const headers = { authorization: `Bearer ${this.token}` };
    if (type) headers['content-type'] = type;
    return fetch(url, { method, headers, body, keepalive: method === 'DELETE' });
  }

  async end() {
    this.pc.close();
    if (this.url) await this.ask('DELETE', this.url);
  }
}

/** Texts to copy, each under its title. */
export function showRecipes(recipes) {
  const place = byId('recipes');
  place.replaceChildren();
  for (const [title, text] of recipes) {
    const head = document.createElement('div');
    head.className = 'recipe';
    const name = document.createElement('h3');
    name.textContent = title;
    const copy = document.createElement('button');
    Object.assign(copy, { type: 'button', className: 'quiet', textContent: 'Copy' });
    copy.addEventListener('click', async () => {
      await navigator.clipboard.writeText(text);
      copy.textContent = 'Copied';
    });
    head.append(name, copy);
    const body = document.createElement('pre');
    body.textContent = text;
    place.append(head, body);
  }
}

/** Wires the form up: `begin` gets a token and gives a session, `recipes` gets one for its texts. */
export function run({ begin, recipes, idle }) {
  const link = readLink();
  let session;
  const tell = (text) => { byId('state').textContent = text; };
  const shown = (token) => showRecipes(recipes(token ?? (byId('token').value.trim() || 'TOKEN')));
  const stop = async () => {
    const old = session;
    session = undefined;
    byId('video').srcObject = null;
    byId('start').hidden = false;
    byId('stop').hidden = true;
    tell(idle);
    await old?.end();
  };
  const start = async () => {
    byId('error').hidden = true;
    byId('start').disabled = true;
    try {
      await stop();
      const token = await findToken();
      shown(token);
      session = await begin(token, link);
      window.session = session;
      const { pc } = session;
      pc.addEventListener('connectionstatechange', () => {
        if (session?.pc === pc) tell(`Connection: ${pc.connectionState}.`);
      });
      byId('start').hidden = true;
      byId('stop').hidden = false;
    } catch (error) {
      byId('error').textContent = error.message;
      byId('error').hidden = false;
    } finally {
      byId('start').disabled = false;
    }
  };
  byId('form').addEventListener('submit', (event) => {
    event.preventDefault();
    start();
  });
  byId('form').addEventListener('input', () => {
    const room = encodeURIComponent(byId('room').value.trim());
    byId('other').search = `?room=${room}`;
    shown();
  });
  byId('stop').addEventListener('click', stop);
  window.addEventListener('pagehide', stop);
  shown();
  if (link.get('auto') === '1') start();
}
