import { effect, linkedSignal, ResourceRef, Signal } from '@angular/core';

/** What was read last. A later read that fails leaves it, with the error beside it; another thing to read drops it. */
export interface Kept<T> {
  /** undefined: nothing has come yet. */
  readonly value: Signal<T | undefined>;
  /** Of the newest read. */
  readonly error: Signal<Error | undefined>;
  reload(): void;
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
    reload: () => void from.reload(),
    set: (next) => from.set(next),
  };
}
