import { ChangeDetectionStrategy, Component, computed, input } from '@angular/core';
import { count } from '../core/format';
import { PolicyLine } from './policy-line';

export interface Reason {
  reason: string;
  count: number;
  /** Of the policy, where it gave the reason. */
  line?: number | null;
}

/** Reasons and how many devices each holds for, as bars. */
@Component({
  selector: 'otad-reasons',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [PolicyLine],
  template: `<ul>
    @for (row of rows(); track $index) {
      <li>
        <span>
          {{ row.reason }}
          @if (row.line && policy()) {
            <otad-policy-line [policy]="policy()" [line]="row.line" />
          }
        </span>
        <span class="number">{{ number(row.count) }}</span>
        <i [style.width.%]="(row.count / most()) * 100"></i>
      </li>
    }
  </ul>`,
  styles: `
    ul {
      display: grid;
      gap: 8px;
      list-style: none;
      font-size: 13.5px;
    }
    li {
      display: grid;
      grid-template-columns: minmax(0, 1fr) auto;
      gap: 2px 12px;
      overflow-wrap: anywhere;
    }
    otad-policy-line {
      margin-left: 4px;
    }
    i {
      grid-column: 1 / -1;
      height: 5px;
      min-width: 3px;
      border-radius: 3px;
      background: var(--line-strong);
    }
  `,
})
export class Reasons {
  readonly rows = input.required<Reason[]>();
  readonly policy = input('');
  protected readonly number = count;
  protected readonly most = computed(() => Math.max(1, ...this.rows().map((row) => row.count)));
}
