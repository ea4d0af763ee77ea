// How a rollout stands, reckoned from what the API says of it.
import { endedOf } from '../../core/counts';
import { Rollout, RolloutState, Stage } from '../../core/models';

export type Steering = 'pause' | 'resume' | 'abort' | 'rollback';

const STEERING: Record<RolloutState, Steering[]> = {
  running: ['pause', 'abort', 'rollback'],
  paused: ['resume', 'abort', 'rollback'],
  rolling_back: ['abort'],
  completed: ['rollback'],
  aborted: ['rollback'],
  rolled_back: [],
};

/** What a person can do with a rollout in that state. */
export function steeringOf(state: RolloutState): Steering[] {
  return STEERING[state];
}

export interface Step extends Stage {
  index: number;
  when: 'done' | 'now' | 'stopped' | 'next';
  /** How many devices have had their turn at its end. */
  devices: number;
  /** Of those, how many are done with. */
  ended: number;
  /** 0..1 */
  progress: number;
  /** Until when it is watched (ms), where it is the one under way. */
  watchedUntil: number | null;
}

/** The stages of a rollout in order, and where it is among them. */
export function stepsOf(rollout: Pick<Rollout, 'state' | 'stage' | 'counts'>, stages: Stage[]): Step[] {
  const { state, stage, counts } = rollout;
  const over = state === 'completed' || state === 'rolled_back';
  const at = stage?.index ?? -1;
  const ended = endedOf(counts);
  return stages.map((one, index) => {
    const devices = Math.ceil(Number((one.share * counts.targeted).toFixed(6))); // 0.07 * 100 is 7.000000000000001
    const here = index === at && !over;
    const when = over || index < at ? 'done' : !here ? 'next' : state === 'aborted' ? 'stopped' : 'now';
    const inside = when === 'done' ? devices : here ? Math.min(ended, devices) : 0;
    return {
      ...one,
      index,
      when,
      devices,
      ended: inside,
      progress: devices ? inside / devices : when === 'done' ? 1 : 0,
      watchedUntil: here && one.soak > 0 ? Date.parse(stage!.entered_at) + one.soak * 1000 : null,
    };
  });
}

/** 125000 -> "2:05", 3725000 -> "1:02:05" */
export function countdown(ms: number): string {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  const two = (n: number) => String(Math.floor(n)).padStart(2, '0');
  const hours = Math.floor(seconds / 3600);
  return hours
    ? `${hours}:${two((seconds % 3600) / 60)}:${two(seconds % 60)}`
    : `${Math.floor(seconds / 60)}:${two(seconds % 60)}`;
}
