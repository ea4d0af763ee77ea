// How many devices of a rollout, real or simulated, did well or not.
import { count, wilson } from './format';
import { CountedState, Rollout } from './models';

type Counts = Record<CountedState, number>;
type Standing = Pick<Rollout, 'state' | 'counts'>;

/** Devices that are done with, well or not. */
export function endedOf(counts: Counts): number {
  const { succeeded, vanished, failed, rolled_back, rejected, timed_out, cancelled, skipped } = counts;
  return succeeded + vanished + failed + rolled_back + rejected + timed_out + cancelled + skipped;
}

/** As policies have it: of those that took the update, how many it did not do well; null: none has ended. */
export function failuresOf(
  counts: Counts,
): { failed: number; of: number; rate: number; low: number; high: number } | null {
  const failed = counts.failed + counts.rolled_back + counts.timed_out + counts.vanished;
  const of = failed + counts.succeeded;
  const bounds = wilson(failed, of);
  return bounds && { failed, of, ...bounds };
}

/** Whether the counts are those of the way back. */
export function goesBack({ state }: Pick<Rollout, 'state'>): boolean {
  return state === 'rolling_back' || state === 'rolled_back';
}

/** How many devices did not do well; on the way back `rolled_back` is how it goes well. */
export function badOf({ state, counts }: Standing): number {
  const { failed, rolled_back, rejected, timed_out, vanished } = counts;
  return failed + rejected + timed_out + vanished + (goesBack({ state }) ? 0 : rolled_back);
}

/** How many devices it has brought to where it goes. */
export function goodOf({ state, counts }: Standing): number {
  return counts.succeeded + (goesBack({ state }) ? counts.rolled_back : 0);
}

/** "12 of 63 succeeded, 1 failed" */
export function progressOf(rollout: Standing): string {
  const { targeted, excluded } = rollout.counts;
  if (!targeted) return excluded ? 'No device can have it' : 'No device is targeted';
  const bad = badOf(rollout);
  const good = `${count(goodOf(rollout))} of ${count(targeted)} ${goesBack(rollout) ? 'back' : 'succeeded'}`;
  return bad ? `${good}, ${count(bad)} failed` : good;
}
