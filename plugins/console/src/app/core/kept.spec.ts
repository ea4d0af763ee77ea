import { Injector, resource, runInInjectionContext, signal } from '@angular/core';
import { TestBed } from '@angular/core/testing';
import { kept } from './kept';

describe('kept', () => {
  const settle = async () => {
    TestBed.tick();
    await new Promise((done) => setTimeout(done));
    TestBed.tick();
  };

  function make() {
    const id = signal(1);
    const state = { fails: false };
    const it = runInInjectionContext(TestBed.inject(Injector), () =>
      kept(
        resource({
          params: () => id(),
          loader: async ({ params }) => {
            if (state.fails) throw new Error('503');
            return `row ${params}`;
          },
        }),
      ),
    );
    return { id, state, it };
  }

  it('leaves what was there where reading it again fails, with the error, until it goes well', async () => {
    const { state, it } = make();
    expect(it.value()).toBeUndefined();
    await settle();
    expect([it.value(), it.error()]).toEqual(['row 1', undefined]);
    state.fails = true;
    it.reload();
    await settle();
    expect([it.value(), it.error()?.message]).toEqual(['row 1', '503']);
    it.reload();
    TestBed.tick();
    expect([it.value(), it.error()?.message]).toEqual(['row 1', '503']); // while it is read once more
    await settle();
    state.fails = false;
    it.reload();
    await settle();
    expect([it.value(), it.error()]).toEqual(['row 1', undefined]);
  });

  it('has nothing, and does not throw, where the first read fails', async () => {
    const { state, it } = make();
    state.fails = true;
    await settle();
    expect([it.value(), it.error()?.message]).toEqual([undefined, '503']);
  });

  it('drops what belongs to another thing', async () => {
    const { id, state, it } = make();
    await settle();
    expect(it.value()).toBe('row 1');
    state.fails = true;
    id.set(2);
    await settle();
    expect([it.value(), it.error()?.message]).toEqual([undefined, '503']);
  });
});
