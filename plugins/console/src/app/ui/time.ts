import { ChangeDetectionStrategy, Component, computed, input } from '@angular/core';
import { ago, fullTime } from '../core/format';

/** "3 min ago", kept current; the local time with its zone is its title. */
@Component({
  selector: 'otad-time',
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `@if (at(); as time) {
      <time [attr.datetime]="time" [title]="whole()">{{ full() ? whole() : relative() }}</time>
    } @else {
      <span class="muted">{{ never() }}</span>
    }`,
  styles: `
    time {
      white-space: nowrap;
    }
  `,
})
export class Time {
  readonly at = input.required<string | null | undefined>();
  readonly full = input(false);
  readonly never = input('never');
  protected readonly relative = computed(() => ago(this.at()!));
  protected readonly whole = computed(() => fullTime(this.at()!));
}
