import { ago, bytes, counted, duration, fullTime, localTimes, percent, wilson } from './format';

describe('values in words', () => {
  it('times in what the server says are local', () => {
    expect(localTimes('It is asked again at 2026-11-29 08:12:02 UTC.')).toBe(
      `It is asked again at ${fullTime('2026-11-29T08:12:02Z')}.`,
    );
  });

  it('durations change their unit where numbers get long', () => {
    expect([0.25, 75, 120, 5400, 7200, 86_400 * 2].map(duration)).toEqual([
      '0.25 s',
      '75 s',
      '2 min',
      '1.5 h',
      '2 h',
      '2 d',
    ]);
  });

  it('ages look back and ahead', () => {
    const now = Date.parse('2026-01-01T12:00:00Z');
    expect(ago('2026-01-01T11:59:57Z', now)).toBe('just now');
    expect(ago('2026-01-01T11:55:40Z', now)).toBe('4 min ago');
    expect(ago('2026-01-01T14:00:00Z', now)).toBe('in 2 h');
  });

  it('sizes are in powers of 1024', () => {
    expect([512, 1024, 1263712, 16 << 20].map(bytes)).toEqual(['512 B', '1.00 KiB', '1.21 MiB', '16.0 MiB']);
  });

  it('counts agree in number', () => {
    expect(counted(1, 'device')).toBe('1 device');
    expect(counted(12345, 'device')).toBe('12,345 devices');
  });

  it('shares keep what matters', () => {
    expect([0, 0.0123, 0.08, 0.5, 1].map(percent)).toEqual(['0 %', '1.2 %', '8 %', '50 %', '100 %']);
  });

  it("Wilson's bounds are those of the textbook", () => {
    const bounds = wilson(10, 100)!;
    expect(bounds.low).toBeCloseTo(0.0552, 3);
    expect(bounds.high).toBeCloseTo(0.1744, 3);
    expect(wilson(0, 0)).toBeNull();
    expect(wilson(0, 20)!.low).toBe(0);
  });
});
