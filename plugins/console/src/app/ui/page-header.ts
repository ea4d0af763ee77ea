import { ChangeDetectionStrategy, Component, input } from '@angular/core';
import { RouterLink } from '@angular/router';
import { mdiChevronLeft } from '@mdi/js';
import { Icon } from './icon';

/** The page is read from its beginning, also by screen readers: where it is new, or what had the focus is gone. */
export function focusHeading(): void {
  setTimeout(() => document.querySelector<HTMLElement>('h1')?.focus()); // once it is there
}

/** The page's one h1, where it leads back to, and its actions (content marked `actions`). */
@Component({
  selector: 'otad-header',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Icon, RouterLink],
  template: `<div class="words">
      @if (back(); as link) {
        <a class="back" [routerLink]="link"><otad-icon [path]="icon" />{{ backText() }}</a>
      }
      <h1 tabindex="-1">{{ title() }}</h1>
      <ng-content />
    </div>
    <div class="actions"><ng-content select="[actions]" /></div>`,
  styles: `
    :host {
      display: flex;
      flex-wrap: wrap;
      align-items: end;
      justify-content: space-between;
      gap: 12px 24px;
    }
    .words {
      min-width: 0;
      overflow-wrap: anywhere;
    }
    .back {
      display: inline-flex;
      min-height: 24px;
      align-items: center;
      font-size: 13px;
    }
    .actions {
      display: flex;
      flex-wrap: wrap;
      gap: 8px;
    }
  `,
})
export class PageHeader {
  readonly title = input.required<string>();
  readonly back = input<string>();
  readonly backText = input('Back');
  protected readonly icon = mdiChevronLeft;
}
