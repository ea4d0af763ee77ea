import { createEnvironmentInjector, EnvironmentInjector, runInInjectionContext } from '@angular/core';
import { TestBed } from '@angular/core/testing';
import { coalesce } from './coalesce';

describe('coalesce', () => {
  afterEach(() => vi.useRealTimers());

  it('runs once for many calls, again where it could not, and stops with what it is of', async () => {
    vi.useFakeTimers();
    const owner = createEnvironmentInjector([], TestBed.inject(EnvironmentInjector));
    const task = vi.fn(() => true);
    const call = runInInjectionContext(owner, () => coalesce(task, 1000));
    for (let i = 0; i < 5; i++) call();
    await vi.advanceTimersByTimeAsync(0);
    expect(task).toHaveBeenCalledTimes(1);
    task.mockReturnValueOnce(false);
    call();
    await vi.advanceTimersByTimeAsync(999);
    expect(task).toHaveBeenCalledTimes(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(task).toHaveBeenCalledTimes(2);
    await vi.advanceTimersByTimeAsync(5000);
    expect(task).toHaveBeenCalledTimes(3);
    call();
    owner.destroy();
    await vi.advanceTimersByTimeAsync(5000);
    expect(task).toHaveBeenCalledTimes(3);
  });
});
