import { DestroyRef, inject } from '@angular/core';

/**
 * Runs `task` soon after the first of many calls, and no more often than each `ms` milliseconds: for reading anew what
 * events say has changed. In an injection context; stops with it.
 */
export function coalesce(task: () => void, ms: number): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let last = 0;
  inject(DestroyRef).onDestroy(() => clearTimeout(timer));
  return () => {
    timer ??= setTimeout(
      () => {
        timer = undefined;
        last = Date.now();
        task();
      },
      Math.max(0, last + ms - Date.now()),
    );
  };
}
