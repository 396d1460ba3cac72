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

import { freePort, startServer } from './lib/server.mjs';
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
  const usual = { '--url': server.url, '--duration': '2s', '--warmup': '1s' };
  const left = Object.entries(usual).filter(([flag]) => !args.includes(flag));
  const ended = await bench(
    scenario, ...left.flat(), '--tolerate-busy', '--json', json, ...args,
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

test('a meeting with one large tile: the other cameras come in their smallest layer', async () => {
  const { report, out } = await run('meeting', 'tiles', '--publishers', '3', '--tiles', '1', '--warmup', '4s');
  const cameras = report.streams.filter((stream) => stream.codec === 'vp8');
  for (const receiver of new Set(cameras.map((stream) => stream.receiver))) {
    const [large, small, ...more] = cameras
      .filter((stream) => stream.receiver === receiver)
      .map((stream) => stream.counts.bytes)
      .sort((one, two) => two - one);
    assert.equal(more.length, 0, out);
    // 1,500 kbit/s beside 136.
    assert.ok(large > 3 * small, `${receiver}: ${large} and ${small} bytes\n${out}`);
  }
});

test('several servers of one deployment: the viewers of each get the room', async () => {
  // One server by two names is the smallest deployment of two.
  const other = server.url.replace('http://', 'ws://');
  const { report } = await run(
    'cascade', 'cascade', '--url', server.url, '--url', other, '--url', server.url, '--subscribers', '4',
  );
  const nodes = report.nodes.map((node) => [node.url, node.streams_arrived, node.streams_expected]);
  assert.deepEqual(nodes, [[other, 2, 2], [server.url, 2, 2]]);
});

test('a cascade over servers that know nothing of one another says where nothing came', async () => {
  const stranger_ = await startServer();
  const args = ['--url', server.url, '--url', stranger_.url, '--subscribers', '2'];
  const { code, err } = await bench(
    'cascade', ...args, '--duration', '1s', '--warmup', '1s', '--tolerate-busy',
  );
  await stranger_.stop();
  assert.equal(code, 1);
  assert.ok(err.includes(`nothing of the room came to the viewers at ${stranger_.url}`), err);
});

test('a node that is killed in the middle: clients come back, and the gap is told', async () => {
  const { out, report } = await run(
    'broadcast', 'restart', '--subscribers', '3', '--duration', '12s', '--restart-after', '2s',
    '--restart', String(server.pidOf('node')),
  );
  assert.ok(report.returned >= 4, out);
  assert.equal(report.restarted_at_s, 2);
  assert.equal(report.server.cpu_us, null, 'a process that is gone took its CPU time along');
  const longest = Number(/longest gap of a client.*max ([\d.]+) ms/.exec(out)[1]);
  assert.ok(longest > 100 && longest < 10_000, out);
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

/** The command by which the harness starts this very binary, at ports that nobody has. */
const COMMAND = '{antipode} dev --shards 1 --bind {address} --media-port {media_port} --media-tcp off '
  + '--runtime {driver}';
const BRIEF = ['--duration', '1s', '--warmup', '1s', '--tolerate-busy'];

test('a sweep starts a server for each point and names what bends', async () => {
  const url = `http://127.0.0.1:${await freePort('tcp', '127.0.0.1')}`;
  const [json, svg] = [join(folder, 'sweep.json'), join(folder, 'sweep.svg')];
  const { code, out, err } = await bench(
    'sweep', '--server', COMMAND, '--url', url, '--axis', 'viewers=2,8', '--axis', 'rooms=1,2',
    '--driver', 'epoll', '--json', json, '--report', svg, ...BRIEF,
  );
  assert.equal(code, 0, `${out}${err}`);
  const { lines } = JSON.parse(readFileSync(json, 'utf8'));
  assert.deepEqual(lines.map((line) => [line.growth, line.driver]), [['viewers', 'epoll'], ['rooms', 'epoll']]);
  for (const point of lines.flatMap((line) => line.points)) {
    assert.ok(point.rounds[0].cpu_us_per_packet > 0 && point.rounds[0].train >= 1, out);
  }
  assert.match(out, /bends? upward/);
  assert.match(readFileSync(svg, 'utf8'), /^<svg xmlns[^]*<circle[^]*<\/svg>\n$/);
  await assert.rejects(fetch(url), 'the last server is gone');
});

test('two servers by turns, and what speaks against them', async () => {
  const [url, other] = [
    `http://127.0.0.1:${await freePort('tcp', '127.0.0.1')}`,
    `http://127.0.0.1:${await freePort('tcp', '127.0.0.1')}`,
  ];
  const json = join(folder, 'versus.json');
  const { code, out, err } = await bench(
    'broadcast', '--server', COMMAND, '--url', url, '--against-command', COMMAND, '--against-url', other,
    '--against-protocol', 'livekit-two', '--rounds', '2', '--subscribers', '2', '--json', json, ...BRIEF,
  );
  assert.equal(code, 0, `${out}${err}`);
  const { versus, rows } = JSON.parse(readFileSync(json, 'utf8'));
  assert.equal(versus.rounds.length, 2);
  assert.deepEqual(versus.sides.map((side) => side.url), [url, other]);
  const cost = rows.find((row) => row.name.startsWith('CPU per packet'));
  assert.ok(cost.sides.every((side) => side.min > 0 && side.min <= side.median), out);
  assert.ok(cost.ratio.median > 0 && versus.rounds.flat().every((round) => round.floor.hot_us > 0), out);

  const refused = await bench('broadcast', '--server', '{antipode} dev --nonsense', '--url', url);
  assert.equal(refused.code, 1);
  assert.match(refused.err, /--server: it ended with exit status: 2; its last words/);
  const taken = await bench('broadcast', '--server', COMMAND, '--url', server.url);
  assert.match(taken.err, /something answers at .* already/);
});

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
    [['--restart', '4194305'], /--restart: no process/],
    [['--server', 'exit 3', '--server-cores', '4095'], /--server-cores/],
    [['--against', 'no-such-commit'], /--against: no commit/],
    [['--against', 'HEAD', '--server', 'sleep 1'], /\{antipode\}/],
    [['--against-command', 'true', '--rounds', '0'], /--rounds/],
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
