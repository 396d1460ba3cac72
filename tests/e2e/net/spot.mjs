// Places for clients: each a network namespace of its own, tied to this one by a wire.
//
//   this namespace                         a spot's namespace
//   server on HUB (10.77.0.1, on lo)
//   near end 10.77.N.1   <--- wire --->    far end 10.77.N.2, default route over the wire
//
// The wire is a veth pair, or two TUN devices with wire.py between them when it shall lose, delay or
// jitter (netem is not in every kernel). Capacity is a `tbf` on the sending end, either way. A
// namespace is held by a process and by nothing else: when that ends, also because this process
// was killed, the kernel takes away the namespace, its devices and their peers.

import { execFileSync, spawn } from 'node:child_process';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { readlinkSync } from 'node:fs';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { launch } from '../lib/browser.mjs';
import { until } from '../lib/wait.mjs';

/** The server's address for every spot. */
export const HUB = '10.77.0.1';
/**
 * One frame on Ethernet and a little: a burst lets trains of segmented sends pass as one, and is
 * what a capped link hands over at full speed.
 */
const BURST_BYTES = 1600;
/** How long a packet may stand in the queue of a capped link: that of a usual access router. */
const QUEUE_MS = 200;

const file = (name) => fileURLToPath(new URL(name, import.meta.url));

function ip(...words) {
  execFileSync('ip', words, { stdio: 'pipe' });
}

/** Prepares this namespace: the server's address. */
export function openHub() {
  ip('addr', 'replace', `${HUB}/32`, 'dev', 'lo');
}

let spots = 0;

export class Spot {
  /** `wire`: 'veth', or 'tun' for one that can `impair`; `seed` decides which packets it loses. */
  static async open({ wire = 'veth', seed = 'antipode' } = {}) {
    spots += 1;
    const spot = new Spot(spots % 250);
    try {
      await spot.hold();
      if (wire === 'tun') await spot.layFaultyWire(seed);
      else spot.layWire();
      spot.configure();
      return spot;
    } catch (error) {
      await spot.close();
      throw error;
    }
  }

  constructor(number) {
    this.number = number;
    this.near = `near${number}`;
    this.hostPart = 2;
    this.browsers = [];
    this.children = [];
  }

  get address() {
    return `10.77.${this.number}.${this.hostPart}`;
  }

  get gateway() {
    return `10.77.${this.number}.1`;
  }

  /** Starts the process that holds the namespace: it reads until this process is gone. */
  async hold() {
    const own = readlinkSync('/proc/self/ns/net');
    this.holder = this.keep(spawn('unshare', ['--net', 'cat'], { stdio: ['pipe', 'ignore', 'inherit'] }));
    await until('the namespace is there', () => readlinkSync(this.path()) !== own);
    this.run('ip', 'link', 'set', 'lo', 'up');
  }

  keep(child) {
    this.children.push(child);
    child.over = once(child, 'exit');
    return child;
  }

  path() {
    return `/proc/${this.holder.pid}/ns/net`;
  }

  layWire() {
    const peer = ['peer', 'name', 'far', 'netns', `${this.holder.pid}`];
    ip('link', 'add', this.near, 'type', 'veth', ...peer);
  }

  async layFaultyWire(seed) {
    const words = [file('wire.py'), this.near, 'far', this.path(), seed];
    this.wire = this.keep(spawn('python3', words, { stdio: ['pipe', 'pipe', 'inherit'] }));
    this.answers = createInterface({ input: this.wire.stdout })[Symbol.asyncIterator]();
    const { done } = await this.answers.next();
    if (done) throw new Error('wire.py ended at once');
  }

  configure() {
    ip('addr', 'add', `${this.gateway}/24`, 'dev', this.near);
    ip('link', 'set', this.near, 'up');
    this.run('ip', 'link', 'set', 'far', 'up');
    this.takeAddress();
  }

  takeAddress() {
    this.run('ip', 'addr', 'add', `${this.address}/24`, 'dev', 'far');
    this.run('ip', 'route', 'add', 'default', 'via', this.gateway);
  }

  /** Runs a command in the spot and gives what it prints. */
  run(...words) {
    const inside = [`--net=${this.path()}`, '--', ...words];
    return execFileSync('nsenter', inside, { stdio: 'pipe', encoding: 'utf8' });
  }

  /** Limits what reaches the spot to so many kbit/s; without a number the limit is lifted. */
  capDown(kbps) {
    execFileSync('tc', capWords(this.near, kbps), { stdio: 'pipe' });
  }

  /** The same for what the spot sends. */
  capUp(kbps) {
    this.run('tc', ...capWords('far', kbps));
  }

  /** Lets no longer datagram than this pass whole; what sends a longer one has to cut it. */
  carryAtMost(bytes) {
    ip('link', 'set', this.near, 'mtu', `${bytes}`);
    this.run('ip', 'link', 'set', 'far', 'mtu', `${bytes}`);
  }

  /** Sets faults per direction, or `rebind`, as in wire.py; gives the counters of both directions. */
  async impair(faults) {
    this.wire.stdin.write(`${JSON.stringify(faults)}\n`);
    return JSON.parse((await this.answers.next()).value);
  }

  /** Cuts the link, as a phone does that leaves a network; `reconnect` ends it. */
  disconnect() {
    this.run('ip', 'link', 'set', 'far', 'down');
    this.run('ip', 'addr', 'flush', 'dev', 'far');
  }

  /** The link is back, with another address. */
  reconnect() {
    this.run('ip', 'link', 'set', 'far', 'up');
    this.hostPart = this.hostPart === 2 ? 3 : 2;
    this.takeAddress();
  }

  /** A forwarder in the spot, at 127.0.0.1 and `port`, to a server at HUB; kill it to cut it. */
  async openDoor(port, serverPort) {
    const inside = [`--net=${this.path()}`, '--'];
    const forward = [process.execPath, file('door.mjs'), `${port}`, HUB, `${serverPort}`];
    const door = this.keep(spawn('nsenter', [...inside, ...forward], { stdio: ['pipe', 'pipe', 'inherit'] }));
    await once(door.stdout, 'data');
    return door;
  }

  /** A Chromium in the spot that takes `origin` as a secure one. */
  async launch(origin, ...flags) {
    this.home ??= await mkdtemp(join(tmpdir(), 'antipode-spot-'));
    const program = process.env.CHROMIUM ?? '/usr/bin/chromium';
    const script = join(this.home, 'chromium');
    await writeFile(script, `#!/bin/sh\nexec nsenter --net=${this.path()} -- "${program}" "$@"\n`);
    await chmod(script, 0o755);
    const browser = await launch({ executablePath: script },
      `--unsafely-treat-insecure-origin-as-secure=${origin}`, ...flags);
    this.browsers.push(browser);
    return browser;
  }

  async close() {
    for (const browser of this.browsers) await browser.close();
    for (const child of this.children.reverse()) {
      child.stdin.end();
      // A door or a wire that hangs must not outlive its test.
      const timer = setTimeout(() => child.kill('SIGKILL'), 2_000);
      await child.over;
      clearTimeout(timer);
    }
    if (this.home) await rm(this.home, { recursive: true, force: true });
  }
}

function capWords(device, kbps) {
  if (!kbps) return ['qdisc', 'del', 'dev', device, 'root'];
  return ['qdisc', 'replace', 'dev', device, 'root', 'tbf', 'rate', `${kbps}kbit`,
    'burst', `${BURST_BYTES}`, 'latency', `${QUEUE_MS}ms`];
}
