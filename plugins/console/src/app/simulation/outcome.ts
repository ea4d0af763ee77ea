// What a simulated rollout came to, in words, and its course as points.
import { failuresOf } from '../core/counts';
import { count, counted, percent } from '../core/format';
import { Simulation } from '../core/models';

/** Virtual time, told more exactly than how long ago something was: 9167 -> "2 h 32 min" */
export function moment(seconds: number): string {
  const units: [number, string][] = [
    [86_400, 'd'],
    [3600, 'h'],
    [60, 'min'],
    [1, 's'],
  ];
  const i = units.findIndex(([unit]) => seconds >= unit);
  if (i < 0) return '0\u00a0s';
  const [[big, name], next] = [units[i], units[i + 1]];
  const rest = next ? Math.floor((seconds % big) / next[0]) : 0;
  return `${Math.floor(seconds / big)}\u00a0${name}${rest ? ` ${rest}\u00a0${next[1]}` : ''}`;
}

export interface Outcome {
  title: string;
  text: string;
  tone: 'good' | 'warn' | 'bad';
}

export function outcomeOf(simulation: Simulation): Outcome {
  const { outcome, at_s, stage, reason, targeted, counts, stages } = simulation;
  if (!targeted)
    return { title: 'No device can have the firmware', text: 'The rollout would update nobody.', tone: 'warn' };
  const after = at_s < 1 ? 'at once' : `after ${moment(at_s)}`;
  const where = stage && stages.length > 1 ? ` in stage “${stage}”` : '';
  const why = reason ? `: ${reason.replace(/^the time was over: /, '')}` : '';
  const failures = failuresOf(counts);
  const bad = failures?.failed ? `, ${count(failures.failed)} fail (${percent(failures.rate)})` : '';
  const text = `${count(counts.succeeded)} of ${counted(targeted, 'device')} succeed${bad}.`;
  switch (outcome) {
    case 'completed':
      return { title: `Completes ${after}`, text, tone: 'good' };
    case 'paused':
      return { title: `Pauses ${after}${where}${why}`, text: `By then ${text}`, tone: 'warn' };
    case 'aborted':
      return { title: `Aborts itself ${after}${where}${why}`, text: `By then ${text}`, tone: 'bad' };
    case 'rolled_back':
      return { title: `Rolls itself back ${after}${where}${why}`, text: `By then ${text}`, tone: 'bad' };
    case 'reverted':
      return { title: `The policy itself fails ${after}${where}${why}`, text: `By then ${text}`, tone: 'bad' };
    default:
      return { title: `Is not over ${after}${where}${why}`, text: `By then ${text}`, tone: 'warn' };
  }
}

export interface Point {
  at: number;
  offered: number;
  succeeded: number;
  failed: number;
}

/** The points of the curves: decisions on stages, and how each stage was left that it came to. */
export function pointsOf({ timeline, stages, at_s }: Simulation): Point[] {
  const left = stages.flatMap(({ entered_s, until_s, offered, succeeded, failed }) =>
    entered_s === null
      ? []
      : { at: Math.min(until_s ?? at_s, at_s), offered: offered ?? 0, succeeded: succeeded ?? 0, failed: failed ?? 0 },
  );
  return [...timeline.map(({ at_s: at, offered, succeeded, failed }) => ({ at, offered, succeeded, failed })), ...left]
    .sort((a, b) => a.at - b.at || a.offered - b.offered)
    .filter((point, i, points) => i === points.length - 1 || points[i + 1].at !== point.at);
}

/**
 * Where a rollout only waits at the end, for much longer than it did anything, the time axis is cut: the moment of the
 * cut, or null.
 */
export function cutOf(points: Point[]): number | null {
  const [last, before] = [points.at(-1), points.at(-2)];
  return last && before && before.at > 0 && last.at > before.at * 3 ? before.at : null;
}

const STEPS = [1, 5, 10, 30, 60, 300, 600, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800];

/** Moments for the marks of a time axis up to `end`: at most `most`, on round numbers. */
export function timeTicks(end: number, most: number): number[] {
  const step = STEPS.find((one) => end / one <= most) ?? Math.ceil(end / most / 86_400) * 86_400;
  return Array.from({ length: Math.floor(end / step) + 1 }, (_, i) => i * step);
}

/** Round numbers from 0 to `top`, for the other axis. */
export function countTicks(top: number): number[] {
  const raw = Math.max(top, 1) / 4;
  const unit = 10 ** Math.floor(Math.log10(raw));
  const step = Math.max(
    1,
    [1, 2, 5, 10].map((n) => n * unit).find((n) => n >= raw)!,
  );
  return Array.from({ length: Math.floor(top / step) + 1 }, (_, i) => i * step);
}
