import { ChangeDetectionStrategy, Component, computed, input } from '@angular/core';
import { RouterLink } from '@angular/router';
import { count, counted, duration, fullTime, percent } from '../../core/format';
import { Plan, RolloutDetail } from '../../core/models';

/** The limits of a plan, each with its name. */
export function limitsOf(plan: Plan): [name: string, words: string][] {
  const limits: [string, string | false | undefined][] = [
    [
      'Rate',
      plan.rate
        ? `${count(plan.rate.per_minute)} offers a minute${plan.rate.growth !== 1 ? `, times ${plan.rate.growth} with each stage` : ''}`
        : 'not limited',
    ],
    ['At once', plan.concurrency !== undefined && counted(plan.concurrency, 'update')],
    [
      'Spread',
      plan.spread &&
        `${counted(plan.spread.concurrency, 'update')} at once for each value of the tag ${plan.spread.tag}`,
    ],
    [
      'Timeout',
      plan.timeout !== undefined ? `after ${duration(plan.timeout)} of silence` : 'as the server is configured',
    ],
    [
      'Retries',
      plan.retry &&
        (plan.retry.max ? `${counted(plan.retry.max, 'time')}, first after ${duration(plan.retry.after)}` : 'never'),
    ],
    [
      'Pauses',
      plan.advance
        ? 'by a rule of its own'
        : plan.max_failure !== undefined && `when more than ${percent(plan.max_failure)} fail`,
    ],
    ['Updates from', !!plan.from?.length && plan.from.join(', ')],
    ['By way of versions', !!plan.steps?.length && plan.steps.join(', ')],
    ['Older versions', !!plan.downgrade && 'may replace newer ones'],
  ];
  return limits.filter((limit): limit is [string, string] => !!limit[1]);
}

/** What a rollout was told to do: whom it targets, by which limits, with which parameters. */
@Component({
  selector: 'otad-plan-facts',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [RouterLink],
  template: `<dl class="facts">
    <dt>Firmware</dt>
    <dd>
      <a [routerLink]="['/firmware', rollout().firmware.id]"
        >{{ rollout().firmware.project }} {{ rollout().firmware.version }}</a
      >
      for {{ rollout().firmware.chip }}
    </dd>
    <dt>Policy</dt>
    <dd>
      <a
        [routerLink]="['/policies', rollout().policy]"
        [queryParams]="rollout().revision ? { revision: rollout().revision } : {}"
        >{{ rollout().policy }}</a
      >
      @if (rollout().revision; as revision) {
        <code class="muted">{{ revision.slice(0, 8) }}</code>
      }
    </dd>
    <dt>Devices</dt>
    <dd>
      @for (words of target(); track words) {
        <span class="tag">{{ words }}</span>
      } @empty {
        all that can have the firmware
      }
    </dd>
    @for (limit of limits(); track limit[0]) {
      <dt>{{ limit[0] }}</dt>
      <dd>{{ limit[1] }}</dd>
    }
    <dt>Priority</dt>
    <dd>{{ rollout().priority }}</dd>
    <dt>Start</dt>
    <dd>
      <time [attr.datetime]="rollout().starts_at">{{ fullTime(rollout().starts_at) }}</time>
    </dd>
    @if (params(); as text) {
      <dt>Parameters</dt>
      <dd>
        <code>{{ text }}</code>
      </dd>
    }
  </dl>`,
  styles: `
    a {
      text-decoration: underline;
    }
    .tag {
      margin-right: 4px;
    }
    a + code {
      margin-left: 6px;
    }
  `,
})
export class PlanFacts {
  readonly rollout = input.required<RolloutDetail>();

  protected readonly fullTime = fullTime;
  protected readonly limits = computed(() => limitsOf(this.rollout().plan));
  protected readonly params = computed(() => {
    const { params } = this.rollout();
    return Object.keys(params).length ? JSON.stringify(params) : '';
  });
  protected readonly target = computed(() => {
    const { chip, tags, versions, device_ids: ids } = this.rollout().target;
    return [
      ...(chip ? [chip] : []),
      ...Object.entries(tags ?? {}).map(([key, value]) => `${key}:${value}`),
      ...(versions ?? []).map((version) => `runs ${version}`),
      ...(ids ? [counted(ids.length, 'chosen device')] : []),
    ];
  });
}
