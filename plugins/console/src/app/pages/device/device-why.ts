import { ChangeDetectionStrategy, Component, computed, inject } from '@angular/core';
import { RouterLink } from '@angular/router';
import { count } from '../../core/format';
import { Session } from '../../core/session';
import { Explanation } from '../../ui/explanation';
import { Loading, Problem } from '../../ui/notice';
import { PolicyLine } from '../../ui/policy-line';
import { StateBadge } from '../../ui/state-badge';
import { DeviceState } from './device-state';

/** Why the device is, or is not, being updated: by its own updates, and by each rollout. */
@Component({
  selector: 'otad-device-why',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Explanation, Loading, PolicyLine, Problem, RouterLink, StateBadge],
  templateUrl: './device-why.html',
  styles: `
    .own {
      font-size: 15px;
    }
    ul {
      list-style: none;
      margin-top: 14px;
      border-top: 1px solid var(--line);
    }
    li {
      display: grid;
      gap: 4px;
      padding: 12px 0;
      border-bottom: 1px solid var(--line);
    }
    li:last-child {
      padding-bottom: 0;
      border-bottom: 0;
    }
    li .row a {
      min-height: 24px;
    }
    details ul {
      margin-top: 8px;
    }
    details {
      margin-top: 14px;
    }
    summary {
      width: fit-content;
      padding: 2px 0;
      color: var(--muted);
      cursor: pointer;
    }
    .links {
      display: flex;
      flex-wrap: wrap;
      gap: 4px 16px;
      font-size: 13px;
    }
  `,
})
export class DeviceWhy {
  protected readonly state = inject(DeviceState);
  protected readonly session = inject(Session);
  protected readonly count = count;
  protected readonly title = computed(() =>
    this.state.underWay() ? 'Why it is being updated' : 'Why it is not being updated',
  );
  /** Its own story: the first line; the others are those of rollouts. */
  protected readonly own = computed(() => this.state.explanation()?.explanation.split('\n')[0] ?? '');
  protected readonly rollouts = computed(() =>
    (this.state.explanation()?.rollouts ?? []).filter((row) => row.state !== 'untargeted'),
  );
  protected readonly others = computed(() =>
    (this.state.explanation()?.rollouts ?? []).filter((row) => row.state === 'untargeted'),
  );
}
