import { ChangeDetectionStrategy, Component, computed, ElementRef, inject, signal, viewChild } from '@angular/core';
import { takeUntilDestroyed } from '@angular/core/rxjs-interop';
import { MatButtonModule } from '@angular/material/button';
import { MatMenuModule } from '@angular/material/menu';
import { NavigationEnd, Router, RouterLink, RouterLinkActive, RouterOutlet } from '@angular/router';
import {
  mdiAccountCircleOutline,
  mdiAccountMultipleOutline,
  mdiChip,
  mdiClipboardTextClockOutline,
  mdiCogOutline,
  mdiFileCodeOutline,
  mdiHomeOutline,
  mdiMagnify,
  mdiMenu,
  mdiPackageVariantClosed,
  mdiRocketLaunchOutline,
  mdiThemeLightDark,
} from '@mdi/js';
import { filter } from 'rxjs';
import { ApiError } from './core/api';
import { Feed } from './core/feed';
import { Session } from './core/session';
import { setTheme, Theme, theme } from './core/theme';
import { Icon } from './ui/icon';
import { Toast } from './ui/toast';

interface Place {
  path: string;
  text: string;
  icon: string;
  exact?: boolean;
}

const PLACES: Place[] = [
  { path: '/', text: 'Home', icon: mdiHomeOutline, exact: true },
  { path: '/devices', text: 'Devices', icon: mdiChip },
  { path: '/firmware', text: 'Firmware', icon: mdiPackageVariantClosed },
];
const FOR_OPERATORS: Place[] = [
  { path: '/rollouts', text: 'Rollouts', icon: mdiRocketLaunchOutline },
  { path: '/policies', text: 'Policies', icon: mdiFileCodeOutline },
  { path: '/audit', text: 'Audit', icon: mdiClipboardTextClockOutline },
  { path: '/users', text: 'Users', icon: mdiAccountMultipleOutline },
];
const SETTINGS: Place = { path: '/settings', text: 'Settings', icon: mdiCogOutline };

const MAC = /Mac|iPhone|iPad/.test(navigator.platform);

const FEED_WORDS = {
  idle: '',
  connecting: 'Connecting…',
  live: 'Live',
  lost: 'Connection lost. Trying again…',
};

/** The frame of all pages: where to go, find a device, whether the view is live, the account. */
@Component({
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Icon, MatButtonModule, MatMenuModule, RouterLink, RouterLinkActive, RouterOutlet],
  host: { '(document:keydown)': 'onKey($event)' },
  templateUrl: './shell.html',
  styleUrl: './shell.scss',
})
export class Shell {
  private readonly router = inject(Router);
  private readonly toast = inject(Toast);
  protected readonly session = inject(Session);
  protected readonly feed = inject(Feed);
  protected readonly theme = theme;
  protected readonly findKeys = MAC ? { shown: '⌘K', told: 'Meta+K' } : { shown: 'Ctrl K', told: 'Control+K' };
  protected readonly setTheme = (value: Theme) => setTheme(value);
  protected readonly icons = { mdiAccountCircleOutline, mdiMagnify, mdiMenu, mdiThemeLightDark };
  protected readonly places = computed(() => [...PLACES, ...(this.session.operator() ? FOR_OPERATORS : []), SETTINGS]);
  protected readonly feedWords = computed(() => FEED_WORDS[this.feed.state()]);
  protected readonly open = signal(false); // the navigation, on a small screen
  private readonly find = viewChild.required<ElementRef<HTMLInputElement>>('find');
  private readonly opener = viewChild.required<string, ElementRef<HTMLElement>>('opener', { read: ElementRef });
  private readonly main = viewChild.required<ElementRef<HTMLElement>>('main');

  constructor() {
    const arrivals = this.router.events.pipe(filter((event) => event instanceof NavigationEnd));
    arrivals.pipe(takeUntilDestroyed()).subscribe(() => this.open.set(false));
  }

  protected search(text: string): void {
    this.router.navigate(['/devices'], { queryParams: text.trim() ? { q: text.trim() } : {} });
  }

  protected skip(event: Event): void {
    event.preventDefault();
    this.main().nativeElement.focus();
  }

  /** Control-K goes to the search, but not from under a dialog or a menu; Escape closes the navigation. */
  protected onKey(event: KeyboardEvent): void {
    const { key, altKey, shiftKey, ctrlKey, metaKey } = event;
    const control = MAC ? metaKey && !ctrlKey : ctrlKey && !metaKey;
    if (key === 'k' && control && !altKey && !shiftKey && !document.querySelector('.cdk-overlay-backdrop')) {
      event.preventDefault();
      this.find().nativeElement.focus();
      this.find().nativeElement.select();
    } else if (key === 'Escape' && this.open()) {
      this.open.set(false);
      this.opener().nativeElement.focus(); // what had the focus may be hidden now
    }
  }

  protected async logout(): Promise<void> {
    try {
      await this.session.logout();
    } catch (error) {
      this.toast.error(new Error(`You may still be logged in here: log out again. ${ApiError.of(error).text}`));
    }
  }
}
