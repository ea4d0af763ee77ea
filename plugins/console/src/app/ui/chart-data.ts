// The course of a value: history as the server cut it into points, and what came live since.
import { TelemetryPoint } from '../core/models';

/** Columns as uPlot wants them: seconds, then values; null is a gap. */
export type Columns = [at: number[], max: (number | null)[], min: (number | null)[], avg: (number | null)[]];
export type Live = [at: number, value: number];

const SILENT = 180; // s without a value that is a gap, even where points are closer: a heartbeat may be missed

/** How wide the server's points are, from the points themselves; 0 where that cannot be told. */
export function widthOf(points: TelemetryPoint[]): number {
  let width = Infinity;
  for (let i = 1; i < points.length; i++) {
    width = Math.min(width, (Date.parse(points[i].at) - Date.parse(points[i - 1].at)) / 1000);
  }
  return Number.isFinite(width) ? width : 0;
}

/** History, then live values newer than it, from `from` (seconds) on; longer silences are gaps. */
export function columns(points: TelemetryPoint[], live: Live[], from: number): Columns {
  const result: Columns = [[], [], [], []];
  const silent = Math.max(2.5 * widthOf(points), SILENT);
  let last = -Infinity;
  const put = (at: number, max: number | null, min: number | null, avg: number | null) => {
    if (at < from || at <= last) return;
    if (Number.isFinite(last) && at - last > silent) add(result, last + 1, null, null, null);
    add(result, at, max, min, avg);
    last = at;
  };
  for (const { at, max, min, avg } of points) put(Date.parse(at) / 1000, max, min, avg);
  for (const [at, value] of live) put(at, value, value, value);
  return result;
}

function add(to: Columns, at: number, max: number | null, min: number | null, avg: number | null): void {
  to[0].push(at);
  to[1].push(max);
  to[2].push(min);
  to[3].push(avg);
}

export interface Extent {
  latest: number;
  lowest: number;
  highest: number;
}

/** null: there is no value. */
export function extent([, max, min, avg]: Columns): Extent | null {
  let latest: number | null = null;
  let lowest = Infinity;
  let highest = -Infinity;
  for (let i = 0; i < avg.length; i++) {
    latest = avg[i] ?? latest;
    lowest = Math.min(lowest, min[i] ?? Infinity);
    highest = Math.max(highest, max[i] ?? -Infinity);
  }
  return latest === null ? null : { latest, lowest, highest };
}

/** Where the value was at a time: the index of the nearest point that has one; -1: none. */
export function nearest([at, , , avg]: Columns, time: number): number {
  let best = -1;
  for (let i = 0; i < at.length; i++) {
    if (avg[i] !== null && (best < 0 || Math.abs(at[i] - time) < Math.abs(at[best] - time))) best = i;
  }
  return best;
}

const MOST_MARKS = 20; // more of them do not fit

/** Of `steps` between marks from `min` to `max` those with which no two marks read alike. */
export function readable(steps: number[], format: (value: number) => string, min: number, max: number): number[] {
  return steps.filter((step) => {
    const [first, last] = [Math.ceil(min / step), Math.floor(max / step)];
    if (last - first >= MOST_MARKS) return false;
    const marks = Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => format((first + i) * step));
    return new Set(marks).size === marks.length;
  });
}
