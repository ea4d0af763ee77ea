import { ChangeDetectionStrategy, Component, input, output } from '@angular/core';
import { mdiAlert, mdiCloseCircle } from '@mdi/js';
import { PolicyProblem } from '../../core/models';
import { Icon } from '../../ui/icon';

/** Problems of a source, each leading to its line. */
@Component({
  selector: 'otad-problem-list',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Icon],
  template: `<ul>
    @for (problem of problems(); track $index) {
      <li>
        <button type="button" [disabled]="!active()" (click)="open.emit(problem)">
          <otad-icon
            [class]="problem.severity"
            [path]="problem.severity === 'error' ? icons.mdiCloseCircle : icons.mdiAlert"
          />
          <span class="visually-hidden">{{ problem.severity === 'error' ? 'Error,' : 'Warning,' }}</span>
          @if (problem.line) {
            <span class="muted line">line {{ problem.line }}</span>
          }
          <span class="message">{{ problem.message }}</span>
        </button>
      </li>
    }
  </ul>`,
  styles: `
    ul {
      list-style: none;
    }
    button {
      display: flex;
      gap: 8px;
      width: 100%;
      min-height: 28px;
      padding: 3px 8px;
      border: 0;
      border-radius: 6px;
      background: none;
      color: var(--text);
      font: inherit;
      text-align: left;
      cursor: pointer;
    }
    button:disabled {
      cursor: default;
    }
    button:hover:not(:disabled) {
      background: var(--panel-2);
    }
    otad-icon {
      margin-top: 2px;
    }
    .error {
      color: var(--bad);
    }
    .warning {
      color: var(--warn);
    }
    .line {
      flex: none;
      min-width: 52px;
      font-variant-numeric: tabular-nums;
    }
    .message {
      overflow-wrap: anywhere;
    }
  `,
})
export class ProblemList {
  readonly problems = input.required<PolicyProblem[]>();
  /** Whether there is a text to go to. */
  readonly active = input(false);
  readonly open = output<PolicyProblem>();
  protected readonly icons = { mdiAlert, mdiCloseCircle };
}
