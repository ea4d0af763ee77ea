// What a simulation came to, in words.
import { count, counted, percent } from '../../../core/format';
import { Simulation } from '../../../core/models';

export function failedOf({ counts }: Simulation): number {
  return counts.failed + counts.rolled_back + counts.rejected + counts.timed_out + counts.vanished;
}

/** Virtual time, told more exactly than how long ago something was: 9167 -> "2 h 33 min" */
export function moment(seconds: number): string {
  const units: [number, string][] = [
    [86_400, 'd'],
    [3600, 'h'],
    [60, 'min'],
    [1, 's'],
  ];
  const i = Math.max(
    0,
    units.findIndex(([unit]) => seconds >= unit),
  );
  if (seconds < 1) return '0 s';
  const [[big, name], next] = [units[i], units[i + 1]];
  const rest = next ? Math.floor((seconds % big) / next[0]) : 0;
  return `${Math.floor(seconds / big)}\u00a0${name}${rest ? ` ${rest}\u00a0${next[1]}` : ''}`;
}

function lasted(seconds: number): string {
  return seconds < 1 ? 'at once' : `after ${moment(seconds)}`;
}

export function outcomeWords(simulation: Simulation): { title: string; text: string; tone: 'good' | 'warn' | 'bad' } {
  const { outcome, at_s, stage, reason, targeted, counts } = simulation;
  const failed = failedOf(simulation);
  const because = reason ? `: ${reason.replace(/^the time was over: /, '')}` : '';
  const where = stage ? ` in stage ${stage}` : '';
  const ended = counts.succeeded + failed;
  const rate = ended ? ` (${percent(failed / ended)})` : '';
  const text = `${count(counts.succeeded)} of ${counted(targeted, 'device')} updated, ${count(failed)} failed${rate}.`;
  switch (outcome) {
    case 'completed':
      return { title: `Completes ${lasted(at_s)}`, text, tone: 'good' };
    case 'paused':
      return { title: `Pauses ${lasted(at_s)}${where}${because}`, text, tone: 'warn' };
    case 'aborted':
      return { title: `Aborts ${lasted(at_s)}${where}${because}`, text, tone: 'bad' };
    case 'rolled_back':
      return { title: `Rolls back ${lasted(at_s)}${where}${because}`, text, tone: 'bad' };
    case 'reverted':
      return { title: `The policy's calls fail ${lasted(at_s)}${where}${because}`, text, tone: 'bad' };
    default:
      return { title: `Not over ${lasted(at_s)}${where}${because}`, text, tone: 'warn' };
  }
}

/** "site=hall-1, ring=0" -> {site: "hall-1", ring: "0"}; null: that is no list of tags. */
export function parseTags(text: string): Record<string, string> | null {
  const tags: Record<string, string> = {};
  for (const part of text.split(',')) {
    if (!part.trim()) continue;
    const match = /^\s*([^=:\s]+)\s*[=:]\s*(.*?)\s*$/.exec(part);
    if (!match) return null;
    tags[match[1]] = match[2];
  }
  return tags;
}

export interface Point {
  at: number;
  offered: number;
  succeeded: number;
  failed: number;
}

/** The points of the curves: decisions on stages, and how each stage was left. */
export function pointsOf({ timeline, stages, at_s }: Simulation): Point[] {
  const all = [
    ...timeline.map((row) => ({ ...row, at: row.at_s })),
    ...stages.map((stage) => ({ ...stage, at: Math.min(stage.until_s, at_s) })),
  ].sort((a, b) => a.at - b.at || a.offered - b.offered);
  return all
    .map(({ at, offered, succeeded, failed }) => ({ at, offered, succeeded, failed }))
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
