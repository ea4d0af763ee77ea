// What telemetry fields mean where their names are known, and how their values are written.
import { bytes, count, duration } from '../../core/format';

export interface Field {
  label: string;
  unit: string;
  format: (value: number) => string;
  bounds: [number, number] | null;
  /** How far apart marks at the axis may be, where round decimals would not read well. */
  steps?: number[];
}

const plain = (value: number): string =>
  Number.isInteger(value) ? count(value) : Math.abs(value) < 1000 ? `${Number(value.toFixed(2))}` : count(value);

/** Time that counts up to years: "3 d", "12 h", at an axis and in words. */
const span = (seconds: number): string => duration(Math.round(seconds));

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const SPANS = [
  ...[1, 2, 5, 10, 15, 30],
  ...[1, 2, 5, 10, 15, 30].map((n) => n * MINUTE),
  ...[1, 2, 4, 6, 12].map((n) => n * HOUR),
  ...[1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000].map((n) => n * DAY),
];
const BYTES = Array.from({ length: 53 }, (_, power) => 2 ** power);

const KNOWN: Record<string, Field> = {
  rssi: { label: 'Signal', unit: 'dBm', format: plain, bounds: null },
  heap: {
    label: 'Free memory',
    unit: '',
    format: (n) => bytes(Math.max(0, Math.round(n))),
    bounds: null,
    steps: BYTES,
  },
  battery: { label: 'Battery', unit: '%', format: plain, bounds: [0, 100] },
  uptime: { label: 'Uptime', unit: '', format: span, bounds: null, steps: SPANS },
};

export function field(name: string): Field {
  const words = name.replaceAll('_', ' ');
  return KNOWN[name] ?? { label: words[0].toUpperCase() + words.slice(1), unit: '', format: plain, bounds: null };
}

/** Well-known ones first, then by name. */
export function inOrder(names: Iterable<string>): string[] {
  const known = Object.keys(KNOWN);
  const rank = (name: string) => (known.includes(name) ? known.indexOf(name) : known.length);
  return [...new Set(names)].sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));
}

export function shown(name: string, value: unknown): string {
  if (typeof value === 'number') {
    const { format, unit } = field(name);
    return format(value) + (unit && ` ${unit}`);
  }
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  return value === null ? 'nothing' : `${value}`.replaceAll('_', ' ');
}
