// What is asked of, and told about, a rollout that is being planned.
import { count, duration, percent } from '../../core/format';
import { CountedState, SimulatedDecision, SimulatedStage, Simulation } from '../../core/models';

/** Of a simulation's answer, what is told here. */
export interface Preview extends Pick<
  Simulation,
  'outcome' | 'at_s' | 'stage' | 'reason' | 'devices' | 'targeted' | 'excluded' | 'fleet'
> {
  timeline: Pick<SimulatedDecision, 'at_s' | 'offered' | 'succeeded' | 'failed'>[];
  /** entered_s is null, and the counts 0, where it never came to that stage. */
  stages: (Pick<SimulatedStage, 'name' | 'share' | 'offered' | 'succeeded' | 'failed'> & {
    entered_s: number | null;
  })[];
  /** How many devices end in each state. */
  counts: Partial<Record<CountedState, number>>;
  held: Pick<Simulation['held'][number], 'verdict' | 'reason' | 'count'>[];
}

/** The comment that a policy begins with. */
export function describePolicy(source: string): string {
  const lines = source.split('\n');
  const end = lines.findIndex((line) => !line.startsWith('--'));
  return lines
    .slice(0, end < 0 ? lines.length : end)
    .map((line) => line.replace(/^-+\s*/, '').trim())
    .filter((line) => line)
    .join(' ');
}

/** Names of the parameters that a policy's source reads or speaks of. */
export function paramsRead(source: string): string[] {
  return [...new Set([...source.matchAll(/\bparams\.([A-Za-z_]\w*)/g)].map((match) => match[1]))];
}

/** A JSON object, or what is wrong with the text. Nothing is an empty one. */
export function readParams(text: string): { params: Record<string, unknown> } | { problem: string } {
  if (!text.trim()) return { params: {} };
  try {
    const params = JSON.parse(text);
    if (params && typeof params === 'object' && !Array.isArray(params)) return { params };
    return { problem: 'Write a JSON object, such as {"timezone": "Europe/Berlin"}' };
  } catch (error) {
    return { problem: `Not JSON: ${error instanceof Error ? error.message : error}` };
  }
}

/** What becomes of the rollout, in a sentence or two. */
export function outcomeWords(preview: Preview): string {
  const { outcome, reason, stage, stages } = preview;
  const { succeeded, failed } = endOf(preview);
  const after = duration(preview.at_s);
  const at = stage && stages.length > 1 ? ` in stage “${stage}”` : '';
  const why = reason ? `: ${reason.replace(/^the time was over: /, '')}` : '';
  const so = `${count(succeeded)} of ${count(preview.targeted)} succeed${failed ? `, ${count(failed)} fail (${percent(failed / (succeeded + failed))})` : ''}.`;
  switch (outcome) {
    case 'completed':
      return preview.targeted ? `Completes after ${after}. ${so}` : 'Completes at once: no device can have it.';
    case 'paused':
      return `Pauses${at} after ${after}${why}. By then ${so}`;
    case 'aborted':
      return `Aborts itself${at} after ${after}${why}. By then ${so}`;
    case 'rolled_back':
      return `Rolls itself back${at} after ${after}${why}.`;
    case 'reverted':
      return `The policy fails${at}${why}.`;
    default:
      return `Is not over after ${after}${why}. By then ${so}`;
  }
}

/** How many have succeeded and failed in the end, as policies count. */
function endOf({ counts }: Preview): { succeeded: number; failed: number; offered: number } {
  const sum = (...states: CountedState[]) => states.reduce((n, state) => n + (counts[state] ?? 0), 0);
  const failed = sum('failed', 'rolled_back', 'timed_out', 'vanished');
  const others = sum('pending', 'offered', 'downloading', 'installing', 'rejected', 'cancelled');
  return { succeeded: sum('succeeded'), failed, offered: sum('succeeded') + failed + others };
}

export interface Curve {
  kind: 'offered' | 'succeeded' | 'failed';
  /** 0..1 of time and of devices, ready for a path. */
  points: [x: number, y: number][];
}

/** The courses of a simulation, scaled to its end and to all that are targeted. */
export function curvesOf(preview: Preview): Curve[] {
  const end = Math.max(preview.at_s, 1);
  const all = Math.max(preview.targeted, 1);
  return (['offered', 'succeeded', 'failed'] as const).map((kind) => {
    const points = preview.timeline.map((moment): [number, number] => [moment.at_s / end, moment[kind] / all]);
    if (points.length) points.push([1, endOf(preview)[kind] / all]);
    return { kind, points };
  });
}
