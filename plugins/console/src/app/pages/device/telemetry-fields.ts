// What telemetry fields mean where their names are known, and how their values are written.
import { bytes, count, duration } from '../../core/format';

export interface Field {
  label: string;
  unit: string;
  format: (value: number) => string;
  bounds: [number, number] | null;
}

const plain = (value: number): string =>
  Number.isInteger(value) ? count(value) : Math.abs(value) < 1000 ? `${Number(value.toFixed(2))}` : count(value);

/** Time that counts up to years: "3 d", "12 h", at an axis and in words. */
const span = (seconds: number): string => duration(Math.round(seconds));

const KNOWN: Record<string, Field> = {
  rssi: { label: 'Signal', unit: 'dBm', format: plain, bounds: null },
  heap: { label: 'Free memory', unit: '', format: (n) => bytes(Math.max(0, Math.round(n))), bounds: null },
  battery: { label: 'Battery', unit: '%', format: plain, bounds: [0, 100] },
  uptime: { label: 'Uptime', unit: '', format: span, bounds: null },
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
