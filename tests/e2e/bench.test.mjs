// The load harness against a real server: what it counts is what the server sent, and bad input ends
// in one clear line.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { startServer } from './lib/server.mjs';
import { until } from './lib/wait.mjs';

const BINARY = process.env.ANTIPODE ?? 'target/debug/antipode';

let server;
let folder;
before(async () => {
  server = await startServer();
  folder = await mkdtemp(join(tmpdir(), 'antipode-bench-'));
});
after(async () => {
  await server?.stop();
  if (folder) await rm(folder, { recursive: true, force: true });
});

/** Starts the harness; `done` resolves with its exit code, its words and its errors. */
function start(...args) {
  const child = spawn(BINARY, ['bench', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const said = { out: '', err: '' };
  child.stdout.on('data', (data) => { said.out += data; });
  child.stderr.on('data', (data) => { said.err += data; });
  const done = new Promise((resolve) => {
    child.once('close', (code) => resolve({ code, ...said }));
  });
  return { child, done };
}

const bench = (...args) => start(...args).done;

/** A run of two seconds; other processes of this machine may be as busy as they like. */
async function run(scenario, name, ...args) {
  const json = join(folder, `${name}.json`);
  const ended = await bench(
    scenario, '--url', server.url, '--duration', '2s', '--warmup', '1s', '--tolerate-busy',
    '--json', json, ...args,
  );
  assert.equal(ended.code, 0, `${ended.out}${ended.err}`);
  return { ...ended, report: JSON.parse(readFileSync(json, 'utf8')) };
}

function assertClean(part) {
  const { packets, corrupt, foreign, duplicates } = part.counts;
  assert.ok(packets > 0, 'something arrived');
  assert.deepEqual({ corrupt, foreign, duplicates }, { corrupt: 0, foreign: 0, duplicates: 0 });
}

test('a broadcast over two shards arrives as it was sent, and the server says as much', async () => {
  const pid = server.pidOf('node');
  const before_ = await server.metric('antipode_packets_out_total');
  const { out, report } = await run(
    'broadcast', 'broadcast', '--publishers', '1', '--subscribers', '4', '--pid', String(pid),
    '--report', join(folder, 'page.html'),
  );
  assert.equal(report.streams_arrived, 8);
  assertClean(report.video);
  assertClean(report.audio);
  // 50 packets a second to four viewers for two seconds.
  assert.ok(Math.abs(report.audio.counts.packets + report.audio.counts.lost - 400) < 40, out);
  assert.ok(report.server.cpu_us > 0 && report.server.rss > report.server.rss_idle / 2, out);
  assert.match(out, /server CPU per packet +[\d.]+ µs/);
  // The shards' counters come once a second.
  const counted = report.video.counts.packets + report.audio.counts.packets;
  await until('the server says it sent at least what arrived', async () => (
    (await server.metric('antipode_packets_out_total')) - before_ >= counted
  ));
  const page = readFileSync(join(folder, 'page.html'), 'utf8');
  assert.ok(page.includes('<svg') && !/<script|https?:\/\/(?!127)/.test(page), 'it stands alone');
});

test('a meeting of three in H264 with simulcast: everybody gets the others', async () => {
  const { report } = await run('meeting', 'meeting', '--publishers', '3', '--codec', 'h264');
  assert.equal(report.streams_arrived, 12);
  assertClean(report.video);
  assertClean(report.audio);
});

test('the older form of the protocol, with two peer connections', async () => {
  const { report } = await run(
    'audio', 'two', '--protocol', 'livekit-two', '--audio-publishers', '2', '--subscribers', '2',
  );
  assert.equal(report.streams_arrived, 4);
  assertClean(report.audio);
});

test('WHIP publishes, WHEP plays, and nothing stays behind', async () => {
  const { report } = await run(
    'broadcast', 'whip', '--protocol', 'whip', '--publishers', '1', '--subscribers', '3', '--room', 'http',
  );
  assert.equal(report.streams_arrived, 6);
  assertClean(report.video);
  assertClean(report.audio);
  await until('its sessions ended', async () => (await server.metric('antipode_sessions')) === 0);
});

test('viewers who come and go are counted', async () => {
  const { report } = await run(
    'churn', 'churn', '--subscribers', '1', '--num-per-second', '5',
  );
  assert.ok(report.connected >= 10, `${report.connected} came`);
  assert.equal(report.failed + report.dropped, 0);
});

test('two results become one', async () => {
  const files = [join(folder, 'broadcast.json'), join(folder, 'broadcast.json')];
  const merged = join(folder, 'merged.json');
  const { code } = await bench('merge', ...files, '--json', merged);
  // The one run was tolerated as it was; of the sum nothing else is asked.
  assert.ok(code === 0 || code === 1);
  const [one, sum] = [files[0], merged].map((file) => JSON.parse(readFileSync(file, 'utf8')));
  assert.equal(sum.video.counts.packets, 2 * one.video.counts.packets);
  assert.equal(sum.machines, 2);
});

test('a run that is interrupted keeps what it has, and is a failure', async () => {
  const json = join(folder, 'partial.json');
  // Counters come once a second, a shard's all at once: then none is to come of the runs before.
  await until('everybody left', async () => (await server.metric('antipode_subscriptions')) === 0);
  const since = await server.metric('antipode_packets_out_total');
  const { child, done } = start(
    'broadcast', '--url', server.url, '--subscribers', '1', '--duration', '10m', '--warmup', '1ms',
    '--room', 'interrupted', '--tolerate-busy', '--json', json,
  );
  // Two seconds of 1.5 Mbit/s: by then it is counted.
  await until('media flows', async () => (
    (await server.metric('antipode_packets_out_total')) > since + 400
  ));
  child.kill('SIGINT');
  const { code, err } = await done;
  assert.equal(code, 1, err);
  assert.match(err, /interrupted/);
  const report = JSON.parse(readFileSync(json, 'utf8'));
  assert.ok(report.interrupted && report.video.counts.packets > 0);
});

/** Something that listens and speaks nothing that a client knows. */
async function stranger() {
  const listener = createServer((socket) => {
    socket.on('error', () => {});
    socket.end('220 mail.example ESMTP\r\n');
  });
  await new Promise((resolve) => listener.listen(0, '127.0.0.1', resolve));
  return listener;
}

test('bad input ends in one line and a failure', async () => {
  const listener = await stranger();
  const strange = `ws://127.0.0.1:${listener.address().port}`;
  const rows = [
    [['--api-secret', 'wrong'], /refuses the key.*401/],
    [['--url', strange], /does not speak LiveKit/],
    [['--url', strange, '--protocol', 'whip'], /does not speak HTTP/],
    [['--url', strange, '--protocol', 'janus'], /does not speak Janus/],
    [['--url', 'ws://127.0.0.1:1'], /cannot reach.*refused/i],
    [['--url', 'ws://no-such-name.invalid'], /nobody knows the name/],
    [['--url', 'wss://127.0.0.1'], /no TLS/],
    [['--url', 'nonsense'], /--url/],
    [['--pid', '4194305'], /no process/],
    [['--fps', '0'], /--fps/],
    [['--json', '/nonexistent/a.json', '--duration', '100ms', '--warmup', '1ms'], /nonexistent/],
  ];
  for (const [args, wanted] of rows) {
    const url = args.includes('--url') ? [] : ['--url', server.url];
    const { code, err } = await bench('broadcast', ...url, '--subscribers', '1', ...args);
    assert.ok(code > 0, `${args}: ${code}`);
    assert.match(err, wanted);
    assert.equal(err.trim().split('\n').length, 1, `one line: ${err}`);
    assert.doesNotMatch(err, /eyJ/, 'no token');
  }
  listener.close();
});

test('too few descriptors are seen before anybody joins', async () => {
  const args = ['bench', 'broadcast', '--url', server.url, '--subscribers', '500'];
  const child = spawn('sh', ['-c', 'ulimit -n 200; exec "$@"', 'sh', BINARY, ...args]);
  let err = '';
  child.stderr.on('data', (data) => { err += data; });
  const code = await new Promise((resolve) => { child.once('close', resolve); });
  assert.equal(code, 1);
  assert.match(err, /501 clients need 1067 file descriptors and this process may have 200/);
  assert.ok(!existsSync(join(folder, 'none.json')));
});
