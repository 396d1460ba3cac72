// Text to everyone in the room, as a reliable data packet under the topic `chat`.
//
// The bytes are the text itself in UTF-8. What arrives is shown as text, never as markup.

const TOPIC = 'chat';
/** Older lines go, so that a long call does not fill the page's memory. */
const LINES_MAX = 500;

const byId = (id) => document.getElementById(id);

export class Chat {
  constructor(room, sdk) {
    this.room = room;
    this.listeners = new AbortController();
    room.on(sdk.RoomEvent.DataReceived, (bytes, from, kind, topic) => {
      if (topic === TOPIC) this.add(from?.name || from?.identity || 'server', bytes);
    });
    byId('chat-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.send();
    }, { signal: this.listeners.signal });
  }

  async send() {
    const field = byId('chat-text');
    const text = field.value.trim();
    if (!text) return;
    const bytes = new TextEncoder().encode(text);
    await this.room.localParticipant.publishData(bytes, { reliable: true, topic: TOPIC });
    field.value = '';
    this.add('You', bytes);
  }

  add(name, bytes) {
    const line = document.createElement('li');
    const who = document.createElement('b');
    who.textContent = name;
    line.append(who, new TextDecoder().decode(bytes));
    const log = byId('chat-log');
    log.append(line);
    while (log.children.length > LINES_MAX) log.firstChild.remove();
    log.scrollTop = log.scrollHeight;
    if (byId('chat').hidden) byId('toggle-chat').classList.add('news');
  }

  toggle() {
    const hidden = !byId('chat').hidden;
    byId('chat').hidden = hidden;
    byId('toggle-chat').setAttribute('aria-pressed', String(!hidden));
    byId('toggle-chat').classList.remove('news');
    if (!hidden) byId('chat-text').focus();
  }

  close() {
    this.listeners.abort();
    byId('chat').hidden = true;
    byId('chat-log').replaceChildren();
    byId('toggle-chat').setAttribute('aria-pressed', 'false');
  }
}
