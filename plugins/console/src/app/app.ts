import { ChangeDetectionStrategy, Component, effect, inject, untracked } from '@angular/core';
import { NavigationEnd, Router, RouterOutlet } from '@angular/router';
import { Session } from './core/session';
import { focusHeading } from './ui/page-header';

@Component({
  selector: 'otad-root',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [RouterOutlet],
  template: `<router-outlet />`,
})
export class App {
  constructor() {
    const session = inject(Session);
    const router = inject(Router);
    let before = session.user();
    // Who is logged out, here or in another tab or by the server, comes back to where they were.
    effect(() => {
      const user = session.user();
      if (before && !user) untracked(() => router.navigate(['/login'], { queryParams: { to: router.url } }));
      before = user;
    });
    let path: string | undefined;
    router.events.subscribe((event) => {
      if (!(event instanceof NavigationEnd)) return;
      const next = event.urlAfterRedirects.split('?')[0];
      if (path !== undefined && next !== path) focusHeading();
      path = next;
    });
  }
}
