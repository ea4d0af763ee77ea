import { effect, linkedSignal, ResourceRef, Signal, untracked } from '@angular/core';

/** What was read last. A later read that fails leaves it, with the error beside it; another thing to read drops it. */
export interface Kept<T> {
  /** undefined: nothing has come yet. */
  readonly value: Signal<T | undefined>;
  /** Of the newest read. */
  readonly error: Signal<Error | undefined>;
  /** False: it is being read for the first time, which is not begun anew, and is to be asked for again. */
  reload(): boolean;
  set(value: T): void;
}

/**
 * Of a resource what can be read in each of its states: its own value() throws once a read has failed. In an injection
 * context.
 */
export function kept<T>(from: ResourceRef<T | undefined>): Kept<T> {
  const value = linkedSignal<{ fresh: T | undefined; same: boolean }, T | undefined>({
    source: () => ({
      fresh: from.hasValue() ? from.value() : undefined,
      same: from.status() === 'error' || from.status() === 'reloading',
    }),
    computation: ({ fresh, same }, previous) => (fresh === undefined && same ? previous?.value : fresh),
  });
  effect(() => void value()); // each state is seen, though nobody looks between two of them
  return {
    value: value.asReadonly(),
    error: from.error,
    reload: () => {
      const first = untracked(from.status) === 'loading';
      from.reload();
      return !first;
    },
    set: (next) => from.set(next),
  };
}
