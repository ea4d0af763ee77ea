import { ChangeDetectionStrategy, Component, computed, effect, inject, input, signal } from '@angular/core';
import { MatButtonModule } from '@angular/material/button';
import { RouterLink } from '@angular/router';
import { Api, reload } from '../../core/api';
import { coalesce } from '../../core/coalesce';
import { goesBack } from '../../core/counts';
import { explainedRollout } from '../../core/explanation';
import { Feed } from '../../core/feed';
import { count, counted, now } from '../../core/format';
import { Rollout, RolloutDetail } from '../../core/models';
import { PageTitle } from '../../core/page-title';
import { ReplayView } from '../../simulation/replay';
import { Confirm, Question } from '../../ui/confirm';
import { Loading, Problem } from '../../ui/notice';
import { PageHeader } from '../../ui/page-header';
import { Reasons } from '../../ui/reasons';
import { RolloutBar } from '../../ui/rollout-bar';
import { StateBadge } from '../../ui/state-badge';
import { lookOf } from '../../ui/states';
import { Time } from '../../ui/time';
import { Toast } from '../../ui/toast';
import { DecisionFeed } from './decision-feed';
import { FailureRate } from './failure-rate';
import { PlanFacts } from './plan-facts';
import { RolloutDevices } from './rollout-devices';
import { StageTrack } from './stage-track';
import { Steering, steeringOf } from './stages';

/** What is told of each state beside the bar, in this order. */
const COUNTED = [
  'waiting',
  'held',
  'pending',
  'offered',
  'downloading',
  'installing',
  'succeeded',
  'vanished',
  'failed',
  'rolled_back',
  'rejected',
  'timed_out',
  'cancelled',
  'skipped',
] as const;

const VERBS: Record<Steering, string> = { pause: 'Pause', resume: 'Resume', abort: 'Abort', rollback: 'Roll back' };

/** One rollout as it happens: where it is, why, how its devices do, and what a person can do about it. */
@Component({
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [
    DecisionFeed,
    FailureRate,
    Loading,
    MatButtonModule,
    PageHeader,
    PlanFacts,
    Problem,
    Reasons,
    ReplayView,
    RolloutBar,
    RolloutDevices,
    RouterLink,
    StageTrack,
    StateBadge,
    Time,
  ],
  templateUrl: './rollout.html',
  styleUrl: './rollout.scss',
})
export class RolloutPage {
  private readonly api = inject(Api);
  private readonly confirm = inject(Confirm);
  private readonly toast = inject(Toast);

  readonly id = input.required<string>();
  /** Of the updates that are listed. */
  readonly state = input<string>();

  protected readonly verbs = VERBS;
  protected readonly number = count;
  protected readonly counted = counted;
  protected readonly rollout = this.api.resource<RolloutDetail>(() => `/rollouts/${this.id()}`);
  protected readonly it = computed(() => (this.rollout.hasValue() ? this.rollout.value()! : null));
  protected readonly explanation = computed(() => explainedRollout(this.it()?.explanation ?? ''));
  protected readonly steering = computed(() => {
    const rollout = this.it();
    return rollout ? steeringOf(rollout.state) : [];
  });
  protected readonly back = computed(() => {
    const rollout = this.it();
    return !!rollout && goesBack(rollout);
  });
  protected readonly early = computed(() => Date.parse(this.it()?.starts_at ?? '') > now());
  protected readonly limit = computed(() => {
    const plan = this.it()?.plan;
    return plan && !plan.advance ? (plan.max_failure ?? null) : null;
  });
  protected readonly counts = computed(() => {
    const counts = this.it()?.counts;
    return counts ? COUNTED.map((state) => ({ state, n: counts[state] })).filter(({ n }) => n > 0) : [];
  });
  protected readonly held = computed(() =>
    (this.it()?.held ?? []).map(({ verdict, reason, count }) => ({
      reason: reason ?? `${verdict}, without a reason`,
      count,
    })),
  );
  protected readonly busy = signal(false);

  constructor() {
    const title = inject(PageTitle);
    effect(() => {
      const rollout = this.it();
      if (rollout) title.set(`${rollout.name}: ${lookOf(rollout.state).text.toLowerCase()}`);
    });
    // The explanation is not in events, which a first answer may be older than: it is read again, less often than they come.
    const reread = coalesce(() => reload(this.rollout), 2000);
    inject(Feed).watch(
      () => [`rollout:${this.id()}`],
      ({ event, data }) => {
        if (event !== 'rollout') return;
        const before = this.it();
        if (before) this.rollout.set({ ...before, ...(data as Rollout) });
        reread();
      },
      reread,
    );
  }

  protected async steer(rollout: Rollout, verb: Steering): Promise<void> {
    const reason = await this.confirm.ask(this.question(rollout, verb));
    if (reason === undefined) return;
    this.busy.set(true);
    const body = reason.trim() ? { reason: reason.trim() } : {};
    await this.toast.around(() => this.api.post(`/rollouts/${rollout.id}/${verb}`, body));
    this.busy.set(false);
    this.rollout.reload();
  }

  private question({ name, counts, firmware, state }: Rollout, verb: Steering): Question {
    const under = counts.under_way ? counted(counts.under_way, 'update') + ' under way' : 'Updates under way';
    const texts: Record<Steering, string> = {
      pause: `No further device is offered ${firmware.version}. ${under} go on. It can be resumed at any time.`,
      resume:
        'It goes on where it stopped. What has failed until now is taken as known, and no longer held against it.',
      abort:
        state === 'rolling_back'
          ? 'Devices that are not back yet keep what they run. It cannot be resumed.'
          : `${under} are cancelled; devices that have ${firmware.version} keep it. It cannot be resumed, only rolled back.`,
      rollback: `${under} are cancelled, and ${counted(counts.succeeded + counts.vanished, 'device')} with ${firmware.version} go back to what they ran before, stage by stage. It cannot be resumed.`,
    };
    return {
      title: `${VERBS[verb]} “${name}”?`,
      text: texts[verb],
      verb: VERBS[verb],
      danger: verb === 'abort' || verb === 'rollback',
      reason: 'optional',
    };
  }
}
