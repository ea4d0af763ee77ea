import { clockTime } from '../../core/format';
import { asText, before, filtered, LogBuffer } from './log-buffer';

const line = (n: number, level = 'info', message = `line ${n}`) => ({
  at: new Date(Date.UTC(2026, 0, 1) + n * 1000).toISOString(),
  level,
  message,
});
const numbers = (buffer: LogBuffer) => buffer.lines().map(({ message }) => Number(message.split(' ')[1]));

describe('log buffer', () => {
  it('has the oldest first, and new lines at the end', () => {
    const buffer = new LogBuffer();
    buffer.restart([line(2), line(1)]);
    expect(buffer.push([line(3)])).toBe(false);
    expect(numbers(buffer)).toEqual([1, 2, 3]);
  });

  it('is bounded', () => {
    const buffer = new LogBuffer(3);
    buffer.restart([line(2), line(1)]);
    expect(buffer.push([line(3), line(4)])).toBe(true);
    expect(numbers(buffer)).toEqual([2, 3, 4]);
  });

  it('does not show a line twice that came live while the page was read', () => {
    const buffer = new LogBuffer();
    buffer.push([line(2), line(3)]);
    buffer.restart([{ ...line(2), at: line(2).at.replace('Z', '417Z') }, line(1)]);
    expect(numbers(buffer)).toEqual([1, 2, 3]);
  });

  it('lets lines wait while it is paused', () => {
    const buffer = new LogBuffer();
    buffer.restart([line(1)]);
    buffer.pause();
    buffer.push([line(2), line(3)]);
    expect(numbers(buffer)).toEqual([1]);
    expect(buffer.waiting()).toBe(2);
    expect(buffer.resume()).toBe(true);
    expect(numbers(buffer)).toEqual([1, 2, 3]);
    expect(buffer.waiting()).toBe(0);
  });

  it('has to read anew when more waits than it holds', () => {
    const buffer = new LogBuffer(2);
    buffer.pause();
    buffer.push([line(1), line(2), line(3)]);
    expect(buffer.waiting()).toBe(3);
    expect(buffer.resume()).toBe(false);
    buffer.restart([line(3), line(2)]);
    expect(buffer.paused()).toBe(false);
    expect(numbers(buffer)).toEqual([2, 3]);
  });

  it('stops following for older lines, and lets the newest go for them', () => {
    const buffer = new LogBuffer(3);
    buffer.restart([line(4), line(3)]);
    buffer.older([line(2), line(1)]);
    expect(buffer.paused()).toBe(true);
    expect(numbers(buffer)).toEqual([1, 2, 3]);
    expect(buffer.resume()).toBe(false);
  });
});

describe('lines before another', () => {
  const page = [line(3), line(2), line(1)];

  it('are those behind it, or of an earlier time', () => {
    expect(before(page, { ...line(2), at: line(2).at.replace('Z', '417Z') })).toEqual([line(1)]);
    expect(before(page, line(9))).toEqual(page);
    expect(before(page, line(1))).toBeNull();
    expect(before(page, line(0))).toBeNull();
  });
});

describe('log filter', () => {
  const lines = [line(1, 'error', 'No route'), line(2, 'warn'), line(3, 'info'), line(4, 'debug', 'route found')];

  it('takes what is at least as bad', () => {
    expect(filtered(lines, '', '')).toBe(lines);
    expect(filtered(lines, 'warn', '').map(({ level }) => level)).toEqual(['error', 'warn']);
    expect(filtered(lines, 'error', '')).toHaveLength(1);
  });

  it('finds text in any case', () => {
    expect(filtered(lines, '', ' ROUTE ')).toHaveLength(2);
    expect(filtered(lines, 'info', 'route')).toHaveLength(1);
  });

  it('writes lines as text', () => {
    const buffer = new LogBuffer();
    buffer.push([line(0, 'warn', 'low')]);
    expect(asText(buffer.lines(), true)).toBe('2026-01-01T00:00:00.000Z warn  low\n');
    expect(asText(buffer.lines())).toBe(`${clockTime(line(0).at)} warn  low\n`);
  });
});
