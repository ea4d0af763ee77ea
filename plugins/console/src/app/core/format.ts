// Values in words. Times are the browser's local ones; wherever a whole time stands, its zone stands with it.
import { signal } from '@angular/core';

/** Ticks every ten seconds: what tells "3 min ago" reads it. */
export const now = signal(Date.now());
setInterval(() => now.set(Date.now()), 10_000);

const STEPS: [limit: number, unit: number, name: string][] = [
  [90, 1, 's'],
  [90 * 60, 60, 'min'],
  [36 * 3600, 3600, 'h'],
  [Infinity, 86400, 'd'],
];

function scaled(seconds: number): [value: number, name: string] {
  const [, unit, name] = STEPS.find(([limit]) => seconds < limit)!;
  return [seconds / unit, name];
}

/** 0.25 -> "0.25 s", 75 -> "75 s", 5400 -> "1.5 h", 200000 -> "2.31 d" */
export function duration(seconds: number): string {
  const [value, name] = scaled(Math.max(0, seconds));
  return `${value < 10 ? Math.round(value * 100) / 100 : Math.round(value)} ${name}`;
}

/** "just now", "3 min ago", "in 2 h" */
export function ago(at: string, from = now()): string {
  const seconds = (from - Date.parse(at)) / 1000;
  if (Math.abs(seconds) < 10) return 'just now';
  const [value, name] = scaled(Math.abs(seconds));
  return seconds < 0 ? `in ${Math.round(value)} ${name}` : `${Math.round(value)} ${name} ago`;
}

const FULL = new Intl.DateTimeFormat(undefined, {
  year: 'numeric',
  month: 'short',
  day: 'numeric',
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  timeZoneName: 'short',
});
const CLOCK = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  fractionalSecondDigits: 3,
  hour12: false,
});
const SHORT = new Intl.DateTimeFormat(undefined, {
  month: 'short',
  day: 'numeric',
  hour: '2-digit',
  minute: '2-digit',
});

/** "29 Nov 2026, 09:12:05 CET" */
export function fullTime(at: string | number): string {
  return FULL.format(new Date(at));
}

/** "09:12:05.123", where the day is said elsewhere */
export function clockTime(at: string | number): string {
  return CLOCK.format(new Date(at));
}

/** What the server says, with its times, such as 2026-11-29 08:12:02 UTC, as fullTime() tells them. */
export function localTimes(text: string): string {
  return text.replace(/\b(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d) UTC\b/g, (_, day, time) => fullTime(`${day}T${time}Z`));
}

/** "29 Nov, 09:12", where the zone is said elsewhere */
export function shortTime(at: string | number): string {
  return SHORT.format(new Date(at));
}

/** "Europe/Berlin (GMT+1)" */
export function zone(): string {
  const name = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const part = new Intl.DateTimeFormat('en', { timeZoneName: 'shortOffset' })
    .formatToParts(new Date())
    .find(({ type }) => type === 'timeZoneName')?.value;
  return part && part !== name ? `${name} (${part})` : name;
}

/** 1263712 -> "1.21 MiB" */
export function bytes(n: number): string {
  if (n < 1024) return `${n} B`;
  const unit = n < 1024 ** 2 ? 1 : n < 1024 ** 3 ? 2 : 3;
  const value = n / 1024 ** unit;
  return `${value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ${['B', 'KiB', 'MiB', 'GiB'][unit]}`;
}

const COUNT = new Intl.NumberFormat('en');

/** 12345 -> "12,345" */
export function count(n: number): string {
  return COUNT.format(n);
}

/** (3, "device") -> "3 devices" */
export function counted(n: number, what: string): string {
  return `${count(n)} ${what}${n === 1 ? '' : 's'}`;
}

/** 0.0123 -> "1.2 %", 1 -> "100 %" */
export function percent(share: number): string {
  const value = share * 100;
  return `${value >= 10 || Number.isInteger(value) ? Math.round(value) : value.toFixed(1)} %`;
}

/** Wilson's bounds of a rate at 95 %, as the server computes them for policies. */
export function wilson(failures: number, n: number): { rate: number; low: number; high: number } | null {
  if (n <= 0) return null;
  const z = 1.959964;
  const p = failures / n;
  const scale = 1 + (z * z) / n;
  const centre = p + (z * z) / (2 * n);
  const spread = z * Math.sqrt((p * (1 - p)) / n + (z * z) / (4 * n * n));
  return { rate: p, low: Math.max(0, (centre - spread) / scale), high: Math.min(1, (centre + spread) / scale) };
}
