// The tiles: one for each person's camera or its place, one for each shared screen.
//
// `refresh` compares what should be shown with what is shown and changes the difference only, so
// that a running picture is never detached and attached again.

/** Ratio of width to height that a tile may take, so that faces are not cut too much. */
const RATIO_MIN = 3 / 4;
const RATIO_MAX = 16 / 9;
/** Below this a tile tells nothing any more: scroll instead. CSS pixels. */
const TILE_WIDTH_MIN = 150;

export class Grid {
  constructor(element, sdk, meter) {
    this.element = element;
    this.sdk = sdk;
    this.meter = meter;
    this.tiles = new Map();
    this.resized = new ResizeObserver(() => this.layout());
    this.resized.observe(element);
  }

  /** Makes the tiles equal to the room. */
  refresh(room) {
    const wanted = this.wanted(room);
    for (const [key, tile] of this.tiles) {
      if (!wanted.has(key)) {
        tile.close();
        this.tiles.delete(key);
      }
    }
    let place = 0;
    for (const [key, { participant, source }] of wanted) {
      let tile = this.tiles.get(key);
      if (!tile) {
        tile = new Tile(this.sdk, source);
        this.tiles.set(key, tile);
        this.element.append(tile.element);
      }
      tile.element.style.order = place;
      place += 1;
      tile.show(participant);
    }
    this.layout();
  }

  /** Others first and oneself last; a screen stands before the cameras. */
  wanted(room) {
    const { Source } = this.sdk.Track;
    const wanted = new Map();
    const people = [...room.remoteParticipants.values(), room.localParticipant];
    for (const source of [Source.ScreenShare, Source.Camera]) {
      for (const participant of people) {
        const shares = participant.getTrackPublication(source)?.track;
        if (source === Source.ScreenShare && !shares) continue;
        // By identity: the sid is another one after a full reconnect, the person is not.
        wanted.set(`${participant.identity}/${source}`, { participant, source });
      }
    }
    return wanted;
  }

  showFigures() {
    for (const tile of this.tiles.values()) tile.showFigures(this.meter);
  }

  /** The number of columns that gives the largest tiles. */
  layout() {
    const count = this.tiles.size;
    const gap = 10;
    const { clientWidth: width, clientHeight: height } = this.element;
    let best = { area: -1 };
    for (let columns = 1; columns <= count; columns += 1) {
      const rows = Math.ceil(count / columns);
      let w = (width - gap * (columns - 1)) / columns;
      let h = (height - gap * (rows - 1)) / rows;
      if (columns > 1 && w < TILE_WIDTH_MIN) break;
      w = Math.min(w, h * RATIO_MAX);
      if (w < TILE_WIDTH_MIN) [w, h] = [TILE_WIDTH_MIN, TILE_WIDTH_MIN / RATIO_MAX];
      h = Math.min(h, w / RATIO_MIN);
      if (w * h > best.area) best = { area: w * h, w, h };
    }
    if (best.area <= 0) return;
    this.element.style.setProperty('--tile-width', `${Math.floor(best.w)}px`);
    this.element.style.setProperty('--tile-height', `${Math.floor(best.h)}px`);
  }

  clear() {
    this.resized.disconnect();
    for (const tile of this.tiles.values()) tile.close();
    this.tiles.clear();
  }
}

class Tile {
  constructor(sdk, source) {
    this.sdk = sdk;
    this.source = source;
    this.audioSource = source === sdk.Track.Source.ScreenShare
      ? sdk.Track.Source.ScreenShareAudio
      : sdk.Track.Source.Microphone;
    this.element = document.createElement('article');
    this.element.className = 'tile no-picture';
    this.element.innerHTML = `
      <video autoplay playsinline muted></video>
      <div class="initials" aria-hidden="true"></div>
      <div class="plate">
        <span class="who">
          <svg class="silent" role="img" aria-label="muted"><use href="icons.svg#microphone-off"></use></svg>
          <span class="name"></span>
          <span class="quality" role="img"><i></i><i></i><i></i></span>
        </span>
        <span class="figures"></span>
      </div>`;
    const part = (selector) => this.element.querySelector(selector);
    this.video = part('video');
    // A plain element, never shown: the sound of the person whose picture this is.
    this.audio = document.createElement('audio');
    this.audio.autoplay = true;
    this.parts = {
      initials: part('.initials'),
      silent: part('.silent'),
      name: part('.name'),
      quality: part('.quality'),
      figures: part('.figures'),
    };
  }

  show(participant) {
    this.participant = participant;
    const isScreen = this.source === this.sdk.Track.Source.ScreenShare;
    const picture = participant.getTrackPublication(this.source);
    const sound = participant.getTrackPublication(this.audioSource);
    const name = participant.name || participant.identity;
    const visible = Boolean(picture?.track) && !picture.isMuted;
    this.pictureTrack = attach(this.pictureTrack, picture?.track, this.video);
    // One's own voice is not played back.
    if (!participant.isLocal) this.soundTrack = attach(this.soundTrack, sound?.track, this.audio);
    this.element.classList.toggle('no-picture', !visible);
    this.element.classList.toggle('contain', isScreen);
    this.element.classList.toggle('mirror', participant.isLocal && !isScreen);
    this.element.classList.toggle('speaking', participant.isSpeaking && !isScreen);
    this.element.dataset.identity = participant.identity;
    this.element.dataset.source = this.source;
    this.element.setAttribute('aria-label', name);
    this.parts.name.textContent = name + (participant.isLocal ? ' (you)' : '') + (isScreen ? ', screen' : '');
    this.parts.initials.textContent = initials(name);
    this.parts.silent.toggleAttribute('hidden', isScreen || (Boolean(sound) && !sound.isMuted));
    this.parts.quality.dataset.level = participant.connectionQuality;
    this.parts.quality.setAttribute('aria-label', `connection ${participant.connectionQuality}`);
  }

  showFigures(meter) {
    const { participant } = this;
    const figures = meter.figures(participant.getTrackPublication(this.source)?.trackSid);
    const words = [];
    if (figures?.width) words.push(`${figures.width}×${figures.height}`);
    if (figures?.fps) words.push(`${Math.round(figures.fps)} fps`);
    if (figures?.kbps) words.push(bitrate(figures.kbps));
    const shard = participant.attributes['antipode.shard'];
    if (shard !== undefined) words.push(`shard ${shard}`);
    // A figure and its unit stay on one line.
    this.parts.figures.textContent = words.map((word) => word.replace(' ', '\u00a0')).join(' · ');
  }

  close() {
    this.pictureTrack?.detach(this.video);
    this.soundTrack?.detach(this.audio);
    this.element.remove();
  }
}

/** Puts `next` where `current` was, and does nothing when they are the same. Returns `next`. */
function attach(current, next, element) {
  if (current === next) return current;
  current?.detach(element);
  next?.attach(element);
  return next;
}

function initials(name) {
  return name.split(/\s+/).slice(0, 2).map((word) => [...word][0] ?? '').join('').toUpperCase();
}

function bitrate(kbps) {
  return kbps < 1000 ? `${Math.round(kbps)} kbit/s` : `${(kbps / 1000).toFixed(1)} Mbit/s`;
}
