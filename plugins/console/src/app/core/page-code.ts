import { Routes } from '@angular/router';

/**
 * Fetches the code of the page at these segments of a path, and of what it stands in, so that it is there once the router
 * asks for it. Whether there is such a page. What fails, fails again for the router, which tells.
 */
export function fetchPageCode(routes: Routes, segments: string[]): boolean {
  for (const { path, children, loadComponent } of routes) {
    const parts = path ? path.split('/') : [];
    const rest = segments.slice(parts.length);
    if (!parts.every((part, i) => (part.startsWith(':') ? segments[i] : part === segments[i]))) continue;
    if (children ? !fetchPageCode(children, rest) : rest.length > 0) continue;
    Promise.resolve(loadComponent?.()).catch(() => undefined);
    return true;
  }
  return false;
}
