// Waiting for conditions. No test waits for time to pass; a measurement over time is named `watch`.

/** Milliseconds between two looks at a condition. */
const LOOK_EVERY_MS = 50;

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Looks at `condition` until it gives something truthy, and returns that. After `ms` it throws
 * `what`, with what `condition` gave or threw last.
 */
export async function until(what, condition, ms = 15_000) {
  const end = performance.now() + ms;
  let last;
  for (;;) {
    try {
      last = await condition();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    if (performance.now() > end) {
      const seen = last instanceof Error ? last.message : JSON.stringify(last);
      throw new Error(`not within ${ms} ms: ${what} (last seen: ${seen})`);
    }
    await pause(LOOK_EVERY_MS);
  }
}
