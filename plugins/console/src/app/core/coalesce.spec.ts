import { TestBed } from '@angular/core/testing';
import { coalesce } from './coalesce';

describe('coalesce', () => {
  beforeEach(() => vi.useFakeTimers());
  afterEach(() => vi.useRealTimers());

  function make() {
    const ends: (() => void)[] = [];
    const ask = TestBed.runInInjectionContext(() => coalesce(() => new Promise<void>((end) => ends.push(end)), 1000));
    return { ends, ask };
  }

  it('runs once for many calls', async () => {
    const { ends, ask } = make();
    for (let i = 0; i < 5; i++) ask();
    await vi.advanceTimersByTimeAsync(5000);
    expect(ends.length).toBe(1);
  });

  it('waits for the run before, and runs again for what was asked meanwhile', async () => {
    const { ends, ask } = make();
    ask();
    await vi.advanceTimersByTimeAsync(1000);
    ask();
    await vi.advanceTimersByTimeAsync(5000);
    expect(ends.length).toBe(1);
    ends[0]();
    await vi.advanceTimersByTimeAsync(1000);
    expect(ends.length).toBe(2);
  });

  it('ends with its context, also in the middle of a run', async () => {
    const { ends, ask } = make();
    ask();
    await vi.advanceTimersByTimeAsync(1000);
    ask();
    TestBed.resetTestingModule();
    ends[0]();
    await vi.advanceTimersByTimeAsync(5000);
    expect(ends.length).toBe(1);
  });
});
