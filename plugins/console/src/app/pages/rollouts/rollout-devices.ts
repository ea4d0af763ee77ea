import { ChangeDetectionStrategy, Component, computed, effect, inject, input, untracked } from '@angular/core';
import { RouterLink } from '@angular/router';
import { Api } from '../../core/api';
import { coalesce } from '../../core/coalesce';
import { Feed } from '../../core/feed';
import { count, counted } from '../../core/format';
import { RolloutCounts, Update, UpdateState } from '../../core/models';
import { PagedList } from '../../core/paged-list';
import { Frame } from '../../ui/frame';
import { More } from '../../ui/more';
import { Loading } from '../../ui/notice';
import { StateBadge } from '../../ui/state-badge';
import { isUnderWay, lookOf } from '../../ui/states';
import { Time } from '../../ui/time';

const PAGE = 50;
const STATES: UpdateState[] = [
  'pending',
  'offered',
  'downloading',
  'installing',
  'succeeded',
  'failed',
  'rolled_back',
  'rejected',
  'timed_out',
  'cancelled',
];

/** The updates that a rollout has made, newest first, by state; live. */
@Component({
  selector: 'otad-rollout-devices',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Frame, Loading, More, RouterLink, StateBadge, Time],
  templateUrl: './rollout-devices.html',
  styleUrl: './rollout-devices.scss',
})
export class RolloutDevices {
  private readonly api = inject(Api);

  readonly rollout = input.required<number>();
  /** Null: they do not tell how many updates there are of each state, as on the way back. */
  readonly counts = input.required<RolloutCounts | null>();
  /** As the address has it. */
  readonly state = input<string>();

  protected readonly number = count;
  protected readonly counted = counted;
  protected readonly isUnderWay = isUnderWay;
  protected readonly shown = computed(() => STATES.find((state) => state === this.state()));
  protected readonly shownText = computed(() => lookOf(this.shown() ?? '').text.toLowerCase());
  /** States that there are devices in, and the one that is shown. */
  protected readonly tabs = computed(() =>
    STATES.map((state) => ({ state, text: lookOf(state).text, n: this.counts()?.[state] })).filter(
      ({ state, n }) => n !== 0 || state === this.shown(),
    ),
  );
  protected readonly list = new PagedList<Update>((cursor) =>
    this.api.list(`/rollouts/${this.rollout()}/devices`, { state: this.shown(), cursor, limit: PAGE }),
  );

  private readonly changed = new Map<number, Update>();

  constructor() {
    effect(() => {
      this.rollout();
      this.shown();
      untracked(() => this.list.restart());
    });
    const reread = coalesce(() => this.list.items().length <= PAGE && this.list.reload(), 1000);
    const show = coalesce(() => {
      const known = this.list.items().filter(({ id }) => this.changed.has(id)).length;
      this.list.patch((row) => this.changed.get(row.id) ?? row);
      if (known < this.changed.size || this.shown()) reread();
      this.changed.clear();
    }, 250);
    inject(Feed).watch(
      () => [`rollout:${this.rollout()}`],
      ({ event, data }) => {
        if (event !== 'update') return;
        const update = data as Update;
        this.changed.set(update.id, update);
        show();
      },
      reread,
    );
  }
}
