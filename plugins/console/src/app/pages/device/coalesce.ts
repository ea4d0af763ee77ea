import { DestroyRef, inject } from '@angular/core';

/**
 * Runs `task` at once, and again at most once in `ms` however often it is asked for; the last wish is never lost. In an
 * injection context: what waits ends with the component.
 */
export function coalesced(task: () => unknown, ms = 1000): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let wanted = false;
  inject(DestroyRef).onDestroy(() => clearTimeout(timer));
  const run = () => {
    wanted = false;
    timer = setTimeout(() => {
      timer = undefined;
      if (wanted) run();
    }, ms);
    task();
  };
  return () => {
    if (timer === undefined) run();
    else wanted = true;
  };
}
