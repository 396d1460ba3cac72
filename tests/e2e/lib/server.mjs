// A development server of its own for each test: free ports, an own folder, ended by its pid.

import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { readFileSync, readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import { until } from './wait.mjs';

const BINARY = process.env.ANTIPODE ?? 'target/debug/antipode';
/** Lines of the server's log that a failing test prints. */
const LOG_LINES_SHOWN = 80;

/** A port that nobody has at this moment. */
export async function freePort(kind, host) {
  const socket = kind === 'tcp' ? createServer() : createSocket('udp4');
  await new Promise((resolve, reject) => {
    socket.once('error', reject);
    if (kind === 'tcp') socket.listen(0, host, resolve);
    else socket.bind(0, resolve);
  });
  const { port } = socket.address();
  await new Promise((resolve) => socket.close(resolve));
  return port;
}

/** Starts `antipode dev` with two shards, every join on the next one, and waits until it is ready. */
export function startServer(...more) {
  return startServerAt('127.0.0.1', ...more);
}

/** The same with HTTP at an address other than loopback, for clients in other namespaces. */
export async function startServerAt(host, ...more) {
  const home = await mkdtemp(join(tmpdir(), 'antipode-e2e-'));
  const [http, media] = [await freePort('tcp', host), await freePort('udp')];
  const tcp = await freePort('tcp');
  const args = [
    'dev', '--bind', `${host}:${http}`, '--media-port', String(media),
    '--shards', '2', '--spread', ...more,
  ];
  const process_ = spawn(BINARY, args, {
    env: {
      ...process.env,
      XDG_RUNTIME_DIR: home,
      TMPDIR: home,
      ANTIPODE_LOG: process.env.ANTIPODE_LOG ?? 'info',
      // A flag overrides it.
      ANTIPODE_MEDIA_TCP: `[::]:${tcp}`,
      // Loopback is another machine to a client in another namespace.
      ANTIPODE_MEDIA_LOOPBACK: process.env.ANTIPODE_MEDIA_LOOPBACK ?? String(host.startsWith('127.')),
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const server = new Server(process_, home, host, http);
  try {
    await until('the server is ready', () => server.isReady(), 30_000);
  } catch (error) {
    console.error(server.tail());
    await server.stop();
    throw error;
  }
  return server;
}

class Server {
  constructor(process_, home, host, port) {
    this.process = process_;
    this.home = home;
    this.port = port;
    this.url = `http://${host}:${port}`;
    this.log = [];
    this.isOver = false;
    process_.once('close', () => { this.isOver = true; });
    for (const stream of [process_.stdout, process_.stderr]) {
      createInterface({ input: stream }).on('line', (line) => this.log.push(line));
    }
  }

  async isReady() {
    if (this.process.exitCode !== null) throw new Error(`it ended with ${this.process.exitCode}`);
    if (!(await fetch(`${this.url}/readyz`)).ok) return false;
    // The shards' counters come once a second, so they come a little later than the node itself.
    return (await (await fetch(`${this.url}/metrics`)).text()).includes('antipode_sessions{');
  }

  /** The pid of the child that runs `antipode node` or `antipode signal`. */
  pidOf(subcommand) {
    for (const name of readdirSync('/proc')) {
      if (!/^\d+$/.test(name)) continue;
      try {
        const parent = readFileSync(`/proc/${name}/stat`, 'utf8').split(') ')[1].split(' ')[1];
        if (Number(parent) !== this.process.pid) continue;
        const words = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0');
        if (words[1] === subcommand) return Number(name);
      } catch {
        // It ended between the two looks.
      }
    }
    return undefined;
  }

  /** `kill -9` to one child; resolves with its pid when another one stands in its place. */
  async murder(subcommand) {
    const pid = this.pidOf(subcommand);
    if (!pid) throw new Error(`there is no child "${subcommand}"`);
    process.kill(pid, 'SIGKILL');
    const at = performance.now();
    const next = await until(`another ${subcommand}`, () => {
      const now = this.pidOf(subcommand);
      return now && now !== pid ? now : undefined;
    });
    return { pid, next, at };
  }

  /** A token of the development server, as its page gets one. */
  async token(room, name) {
    const answer = await fetch(`${this.url}/dev/token`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ room, name }),
    });
    if (!answer.ok) throw new Error(`/dev/token: ${answer.status} ${await answer.text()}`);
    return (await answer.json()).token;
  }

  /** The sum of all samples of a metric whose labels hold what `labels` says. */
  async metric(name, labels = {}) {
    const text = await (await fetch(`${this.url}/metrics`)).text();
    const rows = text.split('\n').filter((row) => row.startsWith(`${name}{`) || row.startsWith(`${name} `));
    if (rows.length === 0) throw new Error(`/metrics has no ${name}`);
    const fits = (row) => Object.entries(labels).every(([key, value]) => row.includes(`${key}="${value}"`));
    return rows.filter(fits).reduce((sum, row) => sum + Number(row.split(' ').at(-1)), 0);
  }

  tail() {
    return this.log.slice(-LOG_LINES_SHOWN).join('\n');
  }

  async stop() {
    // Ends both children as well.
    if (this.process.exitCode === null && this.process.signalCode === null) this.process.kill('SIGTERM');
    await until('the server ended', () => this.isOver, 5_000).catch(async (error) => {
      this.process.kill('SIGKILL');
      await until('the killed server ended', () => this.isOver);
      throw error;
    });
    await rm(this.home, { recursive: true, force: true });
  }
}

/** Memory and descriptors of one process, as the kernel counts them. */
export function footprint(pid) {
  const kib = Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]);
  return { rssMib: kib / 1024, descriptors: readdirSync(`/proc/${pid}/fd`).length };
}
