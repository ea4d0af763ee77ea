import { DestroyRef, inject } from '@angular/core';

/** Runs `task` each `ms` milliseconds while the page is in sight. In an injection context; stops with it. */
export function repeat(task: () => void, ms: number): void {
  const timer = setInterval(() => document.visibilityState === 'visible' && task(), ms);
  inject(DestroyRef).onDestroy(() => clearInterval(timer));
}
