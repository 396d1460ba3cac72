// Figures from a record: pure functions over frames and rows. All times are ms of the page's clock.
//
// A frame is [at, width, height, ordinal], as stage.js notes it when it reaches the screen; a row is
// one reading of the counters of one track.

/** Longer than this after its forerunner and a frame ended a freeze (W3C webrtc-stats, freezeCount). */
const FREEZE_OVER_MS = 150;
const FREEZE_TIMES = 3;
/** How many intervals the usual one is averaged over, as there. */
const FREEZE_AVERAGE_OVER = 30;

/** The record of one person's picture; an empty one when nothing came. */
export function picture(timeline, identity, source = 'camera') {
  const found = timeline.pictures.find(({ key }) => key === `${identity} ${source}`);
  return found?.frames ?? [];
}

/**
 * The waits for a frame that reach into [from, to], the one that lasts at `to` as well, each as
 * { at, ms }; what lies before `from` does not count.
 */
function waits(frames, from, to) {
  const before = frames.findLast(([at]) => at < from)?.[0] ?? from;
  const times = [before, ...frames.map(([at]) => at).filter((at) => at >= from && at <= to), to];
  return times.slice(1).map((at, index) => ({ at, ms: at - Math.max(times[index], from) }));
}

/** The longest time without a new picture. */
export function longestWait(frames, from, to) {
  return Math.max(0, ...waits(frames, from, to).map(({ ms }) => ms));
}

/** The sum of all freezes, which are waits much longer than the usual one. */
export function frozenMs(frames, from, to) {
  const usual = [];
  let sum = 0;
  for (const { ms } of waits(frames, from, to)) {
    const average = usual.length > 0 ? usual.reduce((a, b) => a + b, 0) / usual.length : ms;
    if (ms > Math.max(FREEZE_TIMES * average, average + FREEZE_OVER_MS)) sum += ms;
    usual.push(ms);
    if (usual.length > FREEZE_AVERAGE_OVER) usual.shift();
  }
  return sum;
}

/** Frames per second. The ordinals also count what came faster than the page could note. */
export function fps(frames, from, to) {
  const seen = frames.filter(([at]) => at >= from && at <= to);
  if (seen.length < 2) return 0;
  const [first, last] = [seen[0], seen.at(-1)];
  const count = last[3] > first[3] ? last[3] - first[3] : seen.length - 1;
  return (count * 1000) / (to - from);
}

/**
 * How long after `from` the first frame came from which on all of them, until `to`, have a width
 * that `fits`. Infinity when the last one does not, or nothing came.
 */
export function settledAfter(frames, from, to, fits) {
  const seen = frames.filter(([at]) => at >= from && at <= to);
  const misfit = seen.findLastIndex(([, width]) => !fits(width));
  const settled = seen[misfit + 1];
  return settled ? settled[0] - from : Infinity;
}

/** How long after `from` the first frame with such a width came, whatever came later. */
export function firstAfter(frames, from, to, fits) {
  const found = frames.find(([at, width]) => at >= from && at <= to && fits(width));
  return found ? found[0] - from : Infinity;
}

/** How often the width changed. */
export function changes(frames, from, to) {
  const widths = frames.filter(([at]) => at >= from && at <= to).map(([, width]) => width);
  return widths.filter((width, index) => index > 0 && width !== widths[index - 1]).length;
}

export function rowsOf(timeline, kind, identity, source) {
  return timeline.rows.filter((row) => {
    return row.kind === kind && row.identity === identity && (!source || row.source === source);
  });
}

/** By how much a counter grew; one that starts anew with its connection counts from zero. */
export function growth(rows, field, from, to) {
  let sum = 0;
  let last;
  for (const row of rows) {
    if (row.at > to) break;
    if (last !== undefined && row.at >= from) sum += row[field] < last ? row[field] : row[field] - last;
    last = row[field];
  }
  return sum;
}

/** Received or sent bits per ms, which are kbit/s. */
export function kbps(rows, from, to) {
  return (growth(rows, 'bytes', from, to) * 8) / (to - from);
}

/** What share of the sound was made up, in percent; 100 when none came at all. */
export function concealedPercent(timeline, identity, from, to) {
  const rows = rowsOf(timeline, 'audio', identity);
  const samples = growth(rows, 'samples', from, to);
  return samples > 0 ? (100 * growth(rows, 'concealed', from, to)) / samples : 100;
}

export function percentile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)];
}

/** How alike two rows of numbers run: 1 for the same shape, about 0 for nothing in common (Pearson). */
export function likeness(left, right) {
  const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
  const [a, b] = [left, right].map((values) => values.map((value) => value - mean(values)));
  const dot = (x, y) => x.reduce((sum, value, index) => sum + value * y[index], 0);
  const size = Math.sqrt(dot(a, a) * dot(b, b));
  return size > 0 ? dot(a, b) / size : 0;
}
