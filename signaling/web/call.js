// One call: the SDK's room on one side, the page on the other.
//
// Every event of the room leads to one `refresh`, which makes the page equal to the room. No event
// carries a change of its own, so none can be missed, doubled or come in the wrong order.

import { Chat } from './chat.js';
import { Grid } from './grid.js';
import { Meter } from './meter.js';

const byId = (id) => document.getElementById(id);

/** What the camera is asked for; the SDK derives the simulcast layers from it. */
const CAMERA = {
  hd: { width: 1280, height: 720, frameRate: 30 },
  vga: { width: 640, height: 480, frameRate: 30 },
};

const STATE_WORDS = {
  connected: '',
  connecting: 'connecting…',
  reconnecting: 'reconnecting…',
  signalReconnecting: 'reconnecting…',
  disconnected: 'gone',
};

export class Call {
  /** @param sdk the module of livekit-client; @param wish see `join` in app.js */
  constructor(sdk, wish) {
    this.sdk = sdk;
    this.wish = wish;
    this.room = new sdk.Room({
      singlePeerConnection: !wish.twoConnections,
      adaptiveStream: wish.adaptive,
      videoCaptureDefaults: { resolution: CAMERA[wish.video] },
      disconnectOnPageLeave: true,
    });
    this.meter = new Meter();
    this.grid = new Grid(byId('grid'), sdk, this.meter);
    this.chat = new Chat(this.room, sdk);
    this.listeners = new AbortController();
    this.onEnd = () => {};
  }

  /** Connects, shows the call, then turns on what was wished for. Rejects when it cannot connect. */
  async join(url) {
    this.listenToRoom();
    try {
      await this.room.connect(url, this.wish.token);
    } catch (error) {
      this.end();
      throw error;
    }
    byId('call').hidden = false;
    byId('call-room').textContent = this.room.name;
    this.listenToPage();
    this.refresh();
    this.meterTimer = setInterval(() => this.measure(), 1000);
    // Both at once: one negotiation instead of two.
    const started = [];
    if (this.wish.microphone) started.push(this.turn('Microphone', true));
    if (this.wish.camera) started.push(this.turn('Camera', true));
    await Promise.all(started);
  }

  listenToRoom() {
    const { RoomEvent } = this.sdk;
    const changes = [
      'ParticipantConnected', 'ParticipantDisconnected', 'ParticipantNameChanged',
      'ParticipantAttributesChanged', 'TrackSubscribed', 'TrackUnsubscribed', 'TrackPublished',
      'TrackUnpublished', 'TrackMuted', 'TrackUnmuted', 'LocalTrackPublished',
      'LocalTrackUnpublished', 'ActiveSpeakersChanged', 'ConnectionQualityChanged',
      'ConnectionStateChanged', 'AudioPlaybackStatusChanged', 'Reconnected',
    ];
    for (const change of changes) this.room.on(RoomEvent[change], () => this.refresh());
    this.room.on(RoomEvent.MediaDevicesError, (error) => toast(error.message));
    this.room.on(RoomEvent.TrackSubscriptionFailed, (sid, who) => {
      toast(`A track of ${who.name || who.identity} cannot be received.`);
    });
    this.room.on(RoomEvent.Disconnected, (reason) => this.end(reason));
  }

  listenToPage() {
    const { signal } = this.listeners;
    const press = (id, action) => byId(id).addEventListener('click', action, { signal });
    press('toggle-microphone', () => this.toggle('Microphone'));
    press('toggle-camera', () => this.toggle('Camera'));
    press('toggle-screen', () => this.toggle('ScreenShare'));
    press('toggle-chat', () => this.chat.toggle());
    press('unmute-all', () => this.room.startAudio());
    press('leave', () => this.room.disconnect());
    press('copy-link', () => this.copyLink());
    byId('toggle-screen').hidden = !navigator.mediaDevices?.getDisplayMedia;
    const keys = { m: 'toggle-microphone', v: 'toggle-camera', s: 'toggle-screen', c: 'toggle-chat' };
    document.addEventListener('keydown', (event) => {
      const typing = /^(INPUT|TEXTAREA)$/.test(event.target.tagName);
      if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
      if (keys[event.key]) byId(keys[event.key]).click();
    }, { signal });
  }

  /** Makes the page equal to the room. */
  refresh() {
    const { room } = this;
    this.grid.refresh(room);
    const local = room.localParticipant;
    this.press('toggle-microphone', local.isMicrophoneEnabled, 'microphone');
    this.press('toggle-camera', local.isCameraEnabled, 'camera');
    this.press('toggle-screen', local.isScreenShareEnabled);
    const people = room.remoteParticipants.size + 1;
    byId('call-people').textContent = people === 1 ? 'only you' : `${people} people`;
    byId('call-state').textContent = STATE_WORDS[room.state] ?? room.state;
    byId('call-state').dataset.state = /econnecting/.test(room.state) ? 'reconnecting' : room.state;
    byId('unmute-all').hidden = room.canPlaybackAudio;
    document.title = `${room.name || 'Antipode'} · ${people}`;
  }

  press(id, on, icon) {
    const button = byId(id);
    button.setAttribute('aria-pressed', String(on));
    if (icon) button.querySelector('use').setAttribute('href', `icons.svg#${icon}${on ? '' : '-off'}`);
  }

  toggle(source) {
    const local = this.room.localParticipant;
    return this.turn(source, !local[`is${source}Enabled`]);
  }

  /** A camera that is refused or missing is told, and the call goes on without it. */
  async turn(source, on) {
    if (on && !navigator.mediaDevices) {
      toast('The browser gives camera and microphone only to https pages and to localhost.');
      return;
    }
    try {
      await this.room.localParticipant[`set${source}Enabled`](on);
    } catch (error) {
      // Closing the screen picker is an answer, not a fault.
      if (source !== 'ScreenShare' || error.name !== 'NotAllowedError') {
        toast(`${source}: ${error.message}`);
      }
    }
    this.refresh();
  }

  async copyLink() {
    const link = `${location.origin}${location.pathname}?room=${encodeURIComponent(this.room.name)}`;
    try {
      await navigator.clipboard.writeText(link);
      toast('Link copied.');
    } catch {
      toast(link);
    }
  }

  async measure() {
    await this.meter.measure(this.room);
    this.grid.showFigures();
  }

  end(reason) {
    if (this.listeners.signal.aborted) return;
    clearInterval(this.meterTimer);
    this.listeners.abort();
    this.grid.clear();
    this.chat.close();
    byId('call').hidden = true;
    document.title = 'Antipode';
    const { DisconnectReason } = this.sdk;
    const wanted = reason === DisconnectReason.CLIENT_INITIATED || reason === undefined;
    const word = DisconnectReason[reason] ?? String(reason);
    this.onEnd(wanted ? '' : `The call ended: ${word.toLowerCase().replaceAll('_', ' ')}.`);
  }

  /** What the end-to-end tests hold on to. */
  forTests() {
    return { room: this.room, call: this, stats: () => this.meter.read(this.room) };
  }
}

/** A short note to the person; it goes by itself. */
function toast(text) {
  const note = document.createElement('p');
  note.textContent = text;
  byId('toasts').append(note);
  setTimeout(() => note.remove(), 6000);
}
