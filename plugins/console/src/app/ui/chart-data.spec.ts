import { columns, extent, nearest, readable, widthOf } from './chart-data';

const T = Date.parse('2026-01-01T00:00:00Z') / 1000;
const point = (s: number, avg: number) => ({
  at: new Date((T + s) * 1000).toISOString(),
  min: avg - 1,
  avg,
  max: avg + 1,
});

describe('chart data', () => {
  it('tells the width of points', () => {
    expect(widthOf([])).toBe(0);
    expect(widthOf([point(0, 1), point(300, 1), point(360, 1)])).toBe(60);
  });

  it('puts live values behind the history, and drops what the history has', () => {
    const [at, max, min, avg] = columns(
      [point(0, 5), point(60, 6)],
      [
        [T + 30, 9],
        [T + 60, 9],
        [T + 70, 7],
      ],
      T,
    );
    expect(at).toEqual([T, T + 60, T + 70]);
    expect(max).toEqual([6, 7, 7]);
    expect(min).toEqual([4, 5, 7]);
    expect(avg).toEqual([5, 6, 7]);
  });

  it('leaves out what is before the range', () => {
    expect(columns([point(0, 5), point(60, 6)], [], T + 1)[0]).toEqual([T + 60]);
  });

  it('shows silence as a gap', () => {
    const [at, , , avg] = columns([point(0, 1), point(60, 2), point(1000, 3)], [], T);
    expect(at).toEqual([T, T + 60, T + 61, T + 1000]);
    expect(avg).toEqual([1, 2, null, 3]);
  });

  it('does not take wide points for silence', () => {
    expect(columns([point(0, 1), point(7200, 2), point(14400, 2)], [], T)[3]).toEqual([1, 2, 2]);
  });

  it('knows the latest, lowest and highest', () => {
    expect(extent(columns([], [], T))).toBeNull();
    expect(extent(columns([point(0, 5), point(60, 3)], [[T + 70, 9]], T))).toEqual({
      latest: 9,
      lowest: 2,
      highest: 9,
    });
  });

  it('finds the nearest point that has a value', () => {
    const data = columns([point(0, 1), point(60, 2), point(1000, 3)], [], T);
    expect(nearest(data, T + 62)).toBe(1);
    expect(nearest(data, T + 900)).toBe(3);
    expect(nearest([[], [], [], []], T)).toBe(-1);
  });

  it('leaves out steps between marks that would read alike', () => {
    const days = (n: number) => `${Math.round(n / 86400)} d`;
    expect(readable([3600, 43200, 86400, 172800], days, 11.2 * 86400, 13.1 * 86400)).toEqual([86400, 172800]);
    expect(readable([1, 1000], String, 0, 2500)).toEqual([1000]);
    expect(readable([10, 100], String, 1, 9)).toEqual([10, 100]);
  });
});
