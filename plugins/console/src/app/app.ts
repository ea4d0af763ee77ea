import { Location } from '@angular/common';
import { ChangeDetectionStrategy, Component, effect, inject, untracked } from '@angular/core';
import { NavigationEnd, Router, RouterOutlet } from '@angular/router';
import { fetchPageCode } from './core/page-code';
import { Session } from './core/session';
import { Problem } from './ui/notice';
import { focusHeading } from './ui/page-header';

@Component({
  selector: 'otad-root',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Problem, RouterOutlet],
  template: `@if (session.away(); as error) {
      <main>
        <h1>The server is away</h1>
        <p class="muted">You stay logged in. The console goes on by itself once the server is back.</p>
        <otad-problem [error]="error" (retry)="session.tryNow()" />
      </main>
    }
    <router-outlet />`,
  styles: `
    main {
      display: grid;
      gap: 16px;
      max-width: 640px;
      margin: 15vh auto 0;
      padding: 16px;
    }
  `,
})
export class App {
  protected readonly session = inject(Session);

  constructor() {
    const { session } = this;
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
    session.restore().then(() => router.initialNavigation());
    // Beside the question who is logged in.
    fetchPageCode(router.config, inject(Location).path().split('?')[0].split('/').filter(Boolean));
  }
}
