import { ChangeDetectionStrategy, Component, computed, input, output } from '@angular/core';
import { MatButtonModule } from '@angular/material/button';
import { mdiAlertCircleOutline } from '@mdi/js';
import { ApiError } from '../core/api';
import { Icon } from './icon';

/** What went wrong, in words, with a way to try again. */
@Component({
  selector: 'otad-problem',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Icon, MatButtonModule],
  template: `<div class="callout bad" role="alert">
    <otad-icon [path]="icon" />
    <span>{{ text() }}</span>
    @if (retryable()) {
      <button matButton type="button" (click)="retry.emit()">Try again</button>
    }
  </div>`,
  styles: `
    .callout {
      align-items: center;
    }
    otad-icon {
      color: var(--bad);
    }
    span {
      flex: 1;
    }
  `,
})
export class Problem {
  readonly error = input.required<unknown>();
  readonly retryable = input(true);
  readonly retry = output();
  protected readonly icon = mdiAlertCircleOutline;
  protected readonly text = computed(() => ApiError.of(this.error()).text);
}

/** An empty page tells the next step: words, and actions as its content. */
@Component({
  selector: 'otad-empty',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Icon],
  template: `@if (icon(); as path) {
      <otad-icon [path]="path" />
    }
    <h2>{{ title() }}</h2>
    <div class="text"><ng-content /></div>`,
  styles: `
    :host {
      display: grid;
      justify-items: center;
      gap: 8px;
      padding: 40px 20px;
      text-align: center;
    }
    otad-icon {
      width: 40px;
      height: 40px;
      color: var(--muted);
    }
    .text {
      display: grid;
      justify-items: center;
      gap: 12px;
      max-width: 56ch;
      color: var(--muted);
    }
  `,
})
export class Empty {
  readonly title = input.required<string>();
  readonly icon = input<string>();
}

/** Grey bars where lines will be. */
@Component({
  selector: 'otad-loading',
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `<div role="status"><span class="visually-hidden">Loading</span></div>
    @for (width of widths(); track $index) {
      <div class="bar" [style.width.%]="width"></div>
    }`,
  styles: `
    :host {
      display: grid;
      gap: 12px;
      padding: 14px 18px;
    }
    .bar {
      height: 14px;
      border-radius: 5px;
      background: var(--line);
      animation: breathe 0.9s ease-in-out infinite alternate;
    }
    /* Of opacity alone: it costs the main thread nothing, though some wait out of sight for long. */
    @keyframes breathe {
      to {
        opacity: 0.4;
      }
    }
  `,
})
export class Loading {
  readonly lines = input(4);
  protected readonly widths = computed(() => Array.from({ length: this.lines() }, (_, i) => 92 - ((i * 29) % 47)));
}
