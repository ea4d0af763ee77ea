import { ChangeDetectionStrategy, Component, computed, inject } from '@angular/core';
import { MatButtonModule } from '@angular/material/button';
import { RouterLink } from '@angular/router';
import {
  mdiAlertOctagonOutline,
  mdiBatteryAlertVariantOutline,
  mdiCheckCircleOutline,
  mdiChevronRight,
  mdiCloseCircleOutline,
  mdiFileAlertOutline,
  mdiPauseCircleOutline,
  mdiPlus,
  mdiWifiOff,
} from '@mdi/js';
import { Api, reload } from '../../core/api';
import { coalesce } from '../../core/coalesce';
import { progressOf } from '../../core/counts';
import { Feed } from '../../core/feed';
import { count, percent } from '../../core/format';
import { Attention, FleetSummary } from '../../core/models';
import { repeat } from '../../core/repeat';
import { Session } from '../../core/session';
import { Bar } from '../../ui/bar';
import { Frame } from '../../ui/frame';
import { Icon } from '../../ui/icon';
import { Loading, Problem } from '../../ui/notice';
import { PageHeader } from '../../ui/page-header';
import { RolloutBar } from '../../ui/rollout-bar';
import { StateBadge } from '../../ui/state-badge';
import { Time } from '../../ui/time';
import { FirstSteps } from './first-steps';

const ICONS: Record<string, string> = {
  update_failed: mdiCloseCircleOutline,
  went_silent: mdiWifiOff,
  battery_low: mdiBatteryAlertVariantOutline,
  rollout_paused: mdiPauseCircleOutline,
  policy_problem: mdiFileAlertOutline,
};
const GRAVE = ['update_failed', 'part_down'];
const READ_AGAIN = 5000; // ms between looks at the summary while things happen; the server counts no more often

/** What needs somebody first; then how the fleet is. Every number leads to the list that it counts. */
@Component({
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [
    Bar,
    FirstSteps,
    Frame,
    Icon,
    Loading,
    MatButtonModule,
    PageHeader,
    Problem,
    RolloutBar,
    RouterLink,
    StateBadge,
    Time,
  ],
  templateUrl: './home.html',
  styleUrl: './home.scss',
})
export class HomePage {
  protected readonly session = inject(Session);
  protected readonly summary = inject(Api).resource<FleetSummary>(() => '/fleet/summary');
  protected readonly icons = { mdiCheckCircleOutline, mdiChevronRight, mdiPlus };
  protected readonly count = count;
  protected readonly percent = percent;
  protected readonly progressOf = progressOf;

  protected readonly lastDay = computed(() => {
    const ended = this.summary.value()?.updates.last_day ?? {};
    const of = (...states: string[]) => states.reduce((sum, state) => sum + (ended[state] ?? 0), 0);
    return { succeeded: of('succeeded'), failed: of('failed', 'rolled_back', 'rejected', 'timed_out') };
  });
  protected readonly mostOfAVersion = computed(() =>
    Math.max(1, ...(this.summary.value()?.versions.map(({ devices }) => devices) ?? [])),
  );

  constructor() {
    const again = coalesce(() => reload(this.summary), READ_AGAIN);
    // Not the topic of all devices: a whole fleet's heartbeats only to count it.
    inject(Feed).watch(() => (this.session.operator() ? ['fleet', 'rollouts'] : ['fleet']), again, again);
    repeat(again, READ_AGAIN);
  }

  protected iconOf(item: Attention): string {
    return ICONS[item.kind] ?? mdiAlertOctagonOutline;
  }

  protected toneOf(item: Attention): string {
    return GRAVE.includes(item.kind) ? 'bad' : 'warn';
  }

  protected linkOf(item: Attention): string[] {
    if (item.rollout_id !== null) return ['/rollouts', `${item.rollout_id}`];
    if (item.policy !== null) return ['/policies', item.policy];
    return item.filter ? ['/devices'] : ['/settings'];
  }
}
