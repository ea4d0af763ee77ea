import { ChangeDetectionStrategy, Component, computed, input } from '@angular/core';
import { localTimes } from '../core/format';

/** What the server explains in words: times are local here, and what stands in backquotes is code. */
@Component({
  selector: 'otad-explanation',
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `@for (piece of pieces(); track $index) {
    @if ($odd) {
      <code>{{ piece }}</code>
    } @else {
      <span>{{ piece }}</span>
    }
  }`,
  styles: `
    code {
      padding: 1px 3px;
      border-radius: 4px;
      background: var(--panel-2);
    }
  `,
})
export class Explanation {
  readonly text = input.required<string>();
  protected readonly pieces = computed(() => localTimes(this.text()).split('`'));
}
