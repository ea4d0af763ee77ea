import { ChangeDetectionStrategy, Component, computed, effect, inject, input, untracked } from '@angular/core';
import { MatButtonModule } from '@angular/material/button';
import { MatTabsModule } from '@angular/material/tabs';
import { RouterLink } from '@angular/router';
import { mdiRocketLaunchOutline } from '@mdi/js';
import { Api } from '../../core/api';
import { coalesce } from '../../core/coalesce';
import { progressOf } from '../../core/counts';
import { Feed } from '../../core/feed';
import { Rollout, RolloutState } from '../../core/models';
import { PagedList } from '../../core/paged-list';
import { Frame } from '../../ui/frame';
import { More } from '../../ui/more';
import { Empty, Loading } from '../../ui/notice';
import { PageHeader } from '../../ui/page-header';
import { RolloutBar } from '../../ui/rollout-bar';
import { StateBadge } from '../../ui/state-badge';
import { lookOf } from '../../ui/states';
import { Time } from '../../ui/time';

const STATES: RolloutState[] = ['running', 'paused', 'rolling_back', 'completed', 'aborted', 'rolled_back'];

/** All rollouts, newest first, or those of a state; live. */
@Component({
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [
    Empty,
    Frame,
    Loading,
    MatButtonModule,
    MatTabsModule,
    More,
    PageHeader,
    RolloutBar,
    RouterLink,
    StateBadge,
    Time,
  ],
  templateUrl: './rollouts.html',
  styleUrl: './rollouts.scss',
})
export class RolloutsPage {
  private readonly api = inject(Api);

  readonly state = input<string>();

  protected readonly icon = mdiRocketLaunchOutline;
  protected readonly words = progressOf;
  protected readonly tabs = [
    { state: undefined, text: 'All' },
    ...STATES.map((state) => ({ state, text: lookOf(state).text })),
  ];
  /** The state that the address names, if there is such a one. */
  protected readonly shown = computed(() => STATES.find((state) => state === this.state()));
  protected readonly shownText = computed(() => lookOf(this.shown() ?? '').text.toLowerCase());
  protected readonly list = new PagedList<Rollout>((cursor, limit) =>
    this.api.list('/rollouts', { state: this.shown(), cursor, limit }),
  );

  constructor() {
    effect(() => {
      this.shown();
      untracked(() => this.list.restart());
    });
    const reread = coalesce(() => this.list.reload(), 1000);
    inject(Feed).watch(
      () => ['rollouts'],
      ({ event, data }) => {
        if (event !== 'rollout') return;
        const rollout = data as Rollout;
        const old = this.list.items().find(({ id }) => id === rollout.id);
        this.list.patch((row) => (row.id === rollout.id ? rollout : row));
        // New ones, and those that come to or leave the state shown.
        if (!old || (this.shown() && rollout.state !== old.state)) reread();
      },
      reread,
    );
  }
}
