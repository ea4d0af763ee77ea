import { DestroyRef, inject } from '@angular/core';

/**
 * Runs `task` soon after the first of many calls, and no more often than each `ms` milliseconds: for reading anew what
 * events say has changed. False from it is a further call. In an injection context; stops with it.
 */
export function coalesce(task: () => unknown, ms: number): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let last = 0;
  inject(DestroyRef).onDestroy(() => clearTimeout(timer));
  const call = () => {
    timer ??= setTimeout(
      () => {
        timer = undefined;
        last = Date.now();
        if (task() === false) call();
      },
      Math.max(0, last + ms - Date.now()),
    );
  };
  return call;
}
