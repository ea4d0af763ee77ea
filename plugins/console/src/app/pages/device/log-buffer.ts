// The lines of a device's log that are on the page: oldest first, bounded, new ones at the end.
import { computed, signal } from '@angular/core';
import { clockTime } from '../../core/format';
import { LogLine } from '../../core/models';

export interface Line extends LogLine {
  key: number;
  /** When it was said, in words, which take long to find: once for each line. */
  day: string;
  clock: string;
}

const DAY = new Intl.DateTimeFormat(undefined, { weekday: 'short', year: 'numeric', month: 'short', day: 'numeric' });

export const LEVELS = ['error', 'warn', 'info', 'debug'];

export class LogBuffer {
  private key = 0;
  private readonly all = signal<Line[]>([]);
  private readonly later = signal<Line[]>([]); // came while it was paused
  private readonly held = signal(false);
  private readonly came = signal(0);
  /** Lines between the shown ones and the newest were let go: going on means reading anew. */
  private torn = false;

  readonly lines = this.all.asReadonly();
  readonly paused = this.held.asReadonly();
  /** How many came while it was paused. */
  readonly waiting = this.came.asReadonly();
  readonly last = computed(() => this.all().at(-1) ?? null);

  constructor(private readonly most = 2000) {}

  /** The newest page, as the API gives it: newest first. Lines that came live meanwhile and are newer stay behind it. */
  restart(page: LogLine[]): void {
    const lines = page.map((line) => this.keyed(line)).reverse();
    const known = new Set(lines.map(same));
    const since = lines.at(-1)?.at.slice(0, 23) ?? '';
    const live = [...this.all(), ...this.later()].filter(
      (line) => !known.has(same(line)) && line.at.slice(0, 23) >= since,
    );
    this.all.set([...lines, ...live].slice(-this.most));
    this.later.set([]);
    this.came.set(0);
    this.held.set(false);
    this.torn = false;
  }

  /** Lines as they happen, oldest first. Says whether older ones had to go for them. */
  push(lines: LogLine[]): boolean {
    const more = lines.map((line) => this.keyed(line));
    if (!this.held()) {
      const grown = [...this.all(), ...more];
      this.all.set(grown.slice(-this.most));
      return grown.length > this.most;
    }
    this.came.update((n) => n + more.length);
    const grown = [...this.later(), ...more];
    if (grown.length > this.most) this.torn = true;
    this.later.set(grown.slice(-this.most));
    return false;
  }

  /** A page of older lines, newest first: who reads them does not follow what happens. */
  older(page: LogLine[]): void {
    this.held.set(true);
    const grown = [...page.map((line) => this.keyed(line)).reverse(), ...this.all()];
    if (grown.length > this.most) this.torn = true;
    this.all.set(grown.slice(0, this.most));
  }

  pause(): void {
    this.held.set(true);
  }

  /** Goes on with what came meanwhile; false: too much came, and the newest page is to be read. */
  resume(): boolean {
    if (this.torn) return false;
    this.held.set(false);
    const waiting = this.later();
    this.later.set([]);
    this.came.set(0);
    if (waiting.length) this.all.update((lines) => [...lines, ...waiting].slice(-this.most));
    return true;
  }

  private keyed({ at, level, message }: LogLine): Line {
    return { at, level, message, key: ++this.key, day: DAY.format(new Date(at)), clock: clockTime(at) };
  }
}

/** What of `page`, newest first, is older than a line on the page; null: none yet, it is further back. */
export function before(page: LogLine[], line: LogLine): LogLine[] | null {
  const found = page.findIndex((each) => same(each) === same(line));
  const older = found >= 0 ? page.slice(found + 1) : page.filter(({ at }) => at.slice(0, 23) < line.at.slice(0, 23));
  return older.length ? older : null;
}

/** The API tells microseconds, the feed milliseconds of the same line. */
function same({ at, level, message }: LogLine): string {
  return `${at.slice(0, 23)} ${level} ${message}`;
}

/** At least as bad as `level` ('' for all), with `text` in it. */
export function filtered<T extends LogLine>(lines: T[], level: string, text: string): T[] {
  const worst = LEVELS.indexOf(level);
  const wanted = text.trim().toLowerCase();
  if (worst < 0 && !wanted) return lines;
  return lines.filter(
    (line) =>
      (worst < 0 || (LEVELS.includes(line.level) && LEVELS.indexOf(line.level) <= worst)) &&
      (!wanted || line.message.toLowerCase().includes(wanted)),
  );
}

/** As text: for the clipboard, and as a file, which has whole times in UTC. */
export function asText(lines: Line[], whole = false): string {
  return lines.map(({ at, clock, level, message }) => `${whole ? at : clock} ${level.padEnd(5)} ${message}\n`).join('');
}
