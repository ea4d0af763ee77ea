import { DestroyRef, inject } from '@angular/core';

/**
 * Calls of what it returns lead to `action`, at most once in `wait` ms and once more after the last: for what is read
 * anew when something happens, however often that is. In an injection context.
 */
export function soon(action: () => void, wait = 1000): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let last = 0;
  inject(DestroyRef).onDestroy(() => clearTimeout(timer));
  return () => {
    timer ??= setTimeout(
      () => {
        timer = undefined;
        last = Date.now();
        action();
      },
      Math.max(0, last + wait - Date.now()),
    );
  };
}
