import { DestroyRef, inject } from '@angular/core';

/**
 * Runs `task` soon after the first of many calls, no more often than each `ms` milliseconds, and not before its last run
 * has ended: for reading anew what events say has changed. False from it is a further call. In an injection context; stops
 * with it.
 */
export function coalesce(task: () => unknown, ms: number): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let last = 0;
  let running = false;
  let asked = false; // while it ran
  let gone = false;
  inject(DestroyRef).onDestroy(() => {
    gone = true;
    clearTimeout(timer);
  });
  const run = async () => {
    timer = undefined;
    last = Date.now();
    running = true;
    try {
      if ((await task()) === false) asked = true;
    } finally {
      running = false;
      if (asked) ask();
    }
  };
  const ask = () => {
    asked = running;
    if (!running && !gone) timer ??= setTimeout(run, Math.max(0, last + ms - Date.now()));
  };
  return ask;
}
